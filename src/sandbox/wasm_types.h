// Owning types over Wasmtime's C API, and its errors as ours. Internal to the sandbox.
#pragma once

#include <wasmtime.h>

#include <memory>
#include <string>
#include <string_view>

namespace realm::sandbox {

template <auto Delete>
struct Deleter {
  template <class T>
  void operator()(T* object) const noexcept {
    Delete(object);
  }
};

using WasmEngine = std::unique_ptr<wasm_engine_t, Deleter<wasm_engine_delete>>;
using WasmModule = std::unique_ptr<wasmtime_module_t, Deleter<wasmtime_module_delete>>;
using WasmLinker = std::unique_ptr<wasmtime_linker_t, Deleter<wasmtime_linker_delete>>;
using WasmInstancePre = std::unique_ptr<wasmtime_instance_pre_t, Deleter<wasmtime_instance_pre_delete>>;
using WasmStore = std::unique_ptr<wasmtime_store_t, Deleter<wasmtime_store_delete>>;
using WasmFuture = std::unique_ptr<wasmtime_call_future_t, Deleter<wasmtime_call_future_delete>>;
using WasmError = std::unique_ptr<wasmtime_error_t, Deleter<wasmtime_error_delete>>;
using WasmTrap = std::unique_ptr<wasm_trap_t, Deleter<wasm_trap_delete>>;
using WasmFuncType = std::unique_ptr<wasm_functype_t, Deleter<wasm_functype_delete>>;

// One line: the innermost cause, without the backtrace that Wasmtime puts before it.
std::string innermost_cause(std::string_view text);
std::string message_of(const wasmtime_error_t& error);
std::string message_of(const wasm_trap_t& trap);

}  // namespace realm::sandbox
