// Starts a program once, at build time, and writes a module that begins where this one got to: constructors have run, tables that are
// made at first use are there, memory is as large as a request needs. Every instance then gets all of it as pages of one image.
//
// Usage: realm-snapshot IN.wasm OUT.wasm
// The program exports `_initialize` and `prepare`, which takes nothing and returns how many bytes at the beginning of memory are its stack:
// of no use to anybody once it has returned. Neither is left in the result. Host functions that they call return 0 and do nothing.
#include <wasm.h>
#include <wasmtime.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>

#include "snapshot/wasm_module.h"

namespace realm::snapshot {
namespace {

void require(wasmtime_error_t* error, wasm_trap_t* trap, const std::string& what) {
  if (error == nullptr && trap == nullptr) return;
  wasm_byte_vec_t message;
  error != nullptr ? wasmtime_error_message(error, &message) : wasm_trap_message(trap, &message);
  throw std::runtime_error(what + ": " + std::string(message.data, message.size));
}

// A live instance of a module whose imports all return 0.
class Started {
 public:
  explicit Started(const Bytes& module) {
    wasmtime_module_t* compiled = nullptr;
    require(wasmtime_module_new(engine_.get(), module.data(), module.size(), &compiled), nullptr, "the module does not compile");
    module_.reset(compiled);
    require(wasmtime_linker_define_unknown_imports_as_default_values(linker_.get(), context_, module_.get()), nullptr, "imports");
    wasm_trap_t* trap = nullptr;
    wasmtime_error_t* error = wasmtime_linker_instantiate(linker_.get(), context_, module_.get(), &instance_, &trap);
    require(error, trap, "the module does not start");
  }

  // What the function returns; 0 when nothing.
  uint32_t call(const char* name) {
    const wasmtime_func_t function = exported(name, WASMTIME_EXTERN_FUNC).of.func;
    const std::unique_ptr<wasm_functype_t, decltype(&wasm_functype_delete)> type(wasmtime_func_type(context_, &function),
                                                                                 wasm_functype_delete);
    wasm_trap_t* trap = nullptr;
    wasmtime_val_t result{};
    wasmtime_error_t* error = wasmtime_func_call(context_, &function, nullptr, 0, &result, wasm_functype_results(type.get())->size, &trap);
    require(error, trap, name);
    return static_cast<uint32_t>(result.of.i32);
  }

  std::span<uint8_t> memory() {
    const wasmtime_memory_t memory = exported("memory", WASMTIME_EXTERN_MEMORY).of.memory;
    return {wasmtime_memory_data(context_, &memory), wasmtime_memory_data_size(context_, &memory)};
  }

 private:
  wasmtime_extern_t exported(const std::string& name, wasmtime_extern_kind_t kind) {
    wasmtime_extern_t item;
    if (!wasmtime_instance_export_get(context_, &instance_, name.data(), name.size(), &item) || item.kind != kind) {
      throw std::runtime_error("the module does not export " + name);
    }
    return item;
  }

  std::unique_ptr<wasm_engine_t, decltype(&wasm_engine_delete)> engine_{wasm_engine_new(), wasm_engine_delete};
  std::unique_ptr<wasmtime_linker_t, decltype(&wasmtime_linker_delete)> linker_{wasmtime_linker_new(engine_.get()), wasmtime_linker_delete};
  std::unique_ptr<wasmtime_store_t, decltype(&wasmtime_store_delete)> store_{wasmtime_store_new(engine_.get(), nullptr, nullptr),
                                                                             wasmtime_store_delete};
  std::unique_ptr<wasmtime_module_t, decltype(&wasmtime_module_delete)> module_{nullptr, wasmtime_module_delete};
  wasmtime_context_t* context_ = wasmtime_store_context(store_.get());
  wasmtime_instance_t instance_{};
};

Bytes read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::string("cannot open ") + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const char* path, const Bytes& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) throw std::runtime_error(std::string("cannot write ") + path);
}

void snapshot(const char* in, const char* out) {
  const Bytes module = read_file(in);
  Started program(module);
  program.call("_initialize");
  const size_t stack_bytes = program.call("prepare");
  const std::span<uint8_t> memory = program.memory();
  std::fill_n(memory.begin(), std::min(stack_bytes, memory.size()), 0);
  const std::string dropped[] = {"_initialize", "prepare"};
  write_file(out, with_memory(module, memory, dropped));
}

}  // namespace
}  // namespace realm::snapshot

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: realm-snapshot IN.wasm OUT.wasm\n", stderr);
    return 2;
  }
  try {
    realm::snapshot::snapshot(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "realm-snapshot: %s: %s\n", argv[1], error.what());
    return 1;
  }
  return 0;
}
