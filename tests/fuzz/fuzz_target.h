// What a file of this folder offers to the fuzzer: a function over bytes that a stranger may have written.
//
// It must come back whatever the bytes are. A property that it checks beside that ends the process when it does not hold.
#pragma once

#include <string_view>
#include <vector>

namespace realm::fuzz {

struct Target {
  std::string_view name;  // of the file, and of the folder of its seeds
  void (*run)(std::string_view bytes);
};

inline std::vector<Target>& targets() {
  static std::vector<Target> all;
  return all;
}

struct Registration {
  Registration(std::string_view name, void (*run)(std::string_view)) { targets().push_back({name, run}); }
};

}  // namespace realm::fuzz

#define REALM_FUZZ_TARGET(name, bytes)                                    \
  static void run_##name(std::string_view bytes);                         \
  static const realm::fuzz::Registration registration(#name, run_##name); \
  static void run_##name(std::string_view bytes)
