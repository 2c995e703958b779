// A program as it is kept: compiled, checked and linked against the host's functions.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sandbox/host_function.h"
#include "sandbox/wasm_types.h"

namespace realm::sandbox {

// What a module says of itself.
struct ModuleShape {
  std::vector<std::string> imports;  // "module.name"
  std::vector<std::string> exported_functions;
  bool exports_memory = false;
  bool is_memory64 = false;  // its memory has 64-bit addresses
  uint64_t memory_bytes_min = 0;
  uint64_t code_bytes = 0;  // native code and data
};

// Immutable after loading; any thread.
class Program {
 public:
  const ModuleShape& shape() const noexcept { return shape_; }
  bool exports(std::string_view function) const noexcept;
  bool is_memory64() const noexcept { return shape_.is_memory64; }
  const wasmtime_instance_pre_t* linked() const noexcept { return linked_.get(); }

 private:
  friend class ProgramLoader;
  WasmModule module_;
  WasmInstancePre linked_;
  ModuleShape shape_;
};

// A module that may be meant to do harm.
struct StrangersModule {
  std::string key;                            // names its content, and whose it is where that must not be seen from how long it takes
  std::function<Result<std::string>()> read;  // its bytes; called when its code is not in the cache
};

}  // namespace realm::sandbox
