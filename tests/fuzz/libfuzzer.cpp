// All targets as one libFuzzer program; the variable FUZZ_TARGET says which one it is.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "fuzz/fuzz_target.h"

namespace {

const realm::fuzz::Target* chosen() {
  const char* name = std::getenv("FUZZ_TARGET");
  for (const auto& target : realm::fuzz::targets()) {
    if (name != nullptr && target.name == name) return &target;
  }
  return nullptr;
}

}  // namespace

// What the JSON library of llama.cpp calls when it is used wrongly.
extern "C" [[noreturn]] void ggml_abort(const char* file, int line, const char*, ...) {
  std::fprintf(stderr, "%s:%d: abort\n", file, line);
  std::abort();
}

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (chosen() != nullptr) return 0;
  std::fputs("set FUZZ_TARGET to one of:\n", stderr);
  for (const auto& target : realm::fuzz::targets())
    std::fprintf(stderr, "%.*s\n", static_cast<int>(target.name.size()), target.name.data());
  std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const realm::fuzz::Target target = *chosen();
  target.run({reinterpret_cast<const char*>(data), size});
  return 0;
}
