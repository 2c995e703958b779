// From WebAssembly bytes to a linked program: compile or take from the cache, check imports and exports, link. Internal to the
// sandbox.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sandbox/code_cache.h"
#include "sandbox/host_function.h"
#include "sandbox/program.h"

namespace realm::sandbox {

// Any thread after creation.
class ProgramLoader {
 public:
  // `functions` and `engine` outlive the loader and every program.
  static Result<std::unique_ptr<ProgramLoader>> create(wasm_engine_t* engine, const std::vector<HostFunction>& functions, CodeCache cache,
                                                       std::filesystem::path compiler);

  // As in sandbox.h.
  Result<std::shared_ptr<const Program>> load(std::span<const uint8_t> wasm, std::span<const std::string_view> required_exports) const;
  Result<std::shared_ptr<const Program>> load_confined(const StrangersModule& module, std::span<const std::string_view> required_exports,
                                                       ModuleShape* shape) const;

 private:
  ProgramLoader(wasm_engine_t* engine, const std::vector<HostFunction>& functions, CodeCache cache, std::filesystem::path compiler)
      : engine_(engine), functions_(functions), cache_(std::move(cache)), compiler_(std::move(compiler)) {}
  Result<WasmLinker> make_linker(bool memory64) const;
  Result<WasmModule> compile_confined(const StrangersModule& module) const;
  Result<std::shared_ptr<const Program>> link(WasmModule module, std::span<const std::string_view> required_exports,
                                              ModuleShape* shape) const;
  Result<void> check_imports(const wasmtime_module_t& module, ModuleShape& shape) const;

  wasm_engine_t* engine_;
  const std::vector<HostFunction>& functions_;
  CodeCache cache_;
  std::filesystem::path compiler_;
  WasmLinker linker32_;
  WasmLinker linker64_;  // the same functions with 64-bit pointers
};

}  // namespace realm::sandbox
