// A program as it is kept: compiled, checked and linked against the host's functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sandbox/host_function.h"
#include "sandbox/wasm_types.h"

namespace realm::sandbox {

// Immutable after loading; any thread.
class Program {
 public:
  const std::vector<std::string>& exported_functions() const noexcept { return exported_functions_; }
  bool exports(std::string_view function) const noexcept;
  // Its memory has 64-bit addresses.
  bool is_memory64() const noexcept { return is_memory64_; }
  const wasmtime_instance_pre_t* linked() const noexcept { return linked_.get(); }

 private:
  friend class ProgramLoader;
  WasmModule module_;
  WasmInstancePre linked_;
  std::vector<std::string> exported_functions_;
  bool is_memory64_ = false;
};

}  // namespace realm::sandbox
