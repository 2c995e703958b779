#include "sandbox/program_loader.h"

#include <algorithm>

#include "base/sha256.h"
#include "sandbox/compile_child.h"
#include "sandbox/instance.h"

namespace realm::sandbox {
namespace {

wasm_valtype_t* type_of(ValueKind kind, bool memory64) {
  switch (kind) {
    case ValueKind::i64:
      return wasm_valtype_new(WASM_I64);
    case ValueKind::f32:
      return wasm_valtype_new(WASM_F32);
    case ValueKind::pointer:
      return wasm_valtype_new(memory64 ? WASM_I64 : WASM_I32);
    default:
      return wasm_valtype_new(WASM_I32);
  }
}

WasmFuncType type_of(const HostFunction& function, bool memory64) {
  std::vector<wasm_valtype_t*> parameters;
  for (const ValueKind kind : function.parameters) parameters.push_back(type_of(kind, memory64));
  wasm_valtype_vec_t parameter_types;
  wasm_valtype_vec_new(&parameter_types, parameters.size(), parameters.data());
  wasm_valtype_vec_t result_types;
  if (function.result == ValueKind::none) {
    wasm_valtype_vec_new_empty(&result_types);
  } else {
    wasm_valtype_t* result = type_of(function.result, memory64);
    wasm_valtype_vec_new(&result_types, 1, &result);
  }
  return WasmFuncType(wasm_functype_new(&parameter_types, &result_types));
}

std::string_view text_of(const wasm_name_t* name) { return {name->data, name->size}; }

std::string list_of(const std::vector<std::string>& names) {
  constexpr size_t named_max = 8;
  std::string list;
  for (size_t i = 0; i < std::min(names.size(), named_max); ++i) list += (i > 0 ? ", " : "") + names[i];
  if (names.size() > named_max) list += " and " + std::to_string(names.size() - named_max) + " more";
  return list;
}

void read_exports(const wasmtime_module_t& module, ModuleShape& shape) {
  constexpr uint64_t page_bytes = 65'536;
  wasm_exporttype_vec_t exports;
  wasmtime_module_exports(&module, &exports);
  for (size_t i = 0; i < exports.size; ++i) {
    const wasm_externtype_t* type = wasm_exporttype_type(exports.data[i]);
    if (wasm_externtype_kind(type) == WASM_EXTERN_FUNC) {
      shape.exported_functions.emplace_back(text_of(wasm_exporttype_name(exports.data[i])));
    } else if (wasm_externtype_kind(type) == WASM_EXTERN_MEMORY) {
      const wasm_memorytype_t* memory = wasm_externtype_as_memorytype_const(type);
      shape.exports_memory = shape.exports_memory || text_of(wasm_exporttype_name(exports.data[i])) == "memory";
      shape.is_memory64 = wasmtime_memorytype_is64(memory);
      shape.memory_bytes_min = wasmtime_memorytype_minimum(memory) * page_bytes;
    }
  }
  wasm_exporttype_vec_delete(&exports);
  void* begin = nullptr;
  void* end = nullptr;
  wasmtime_module_image_range(&module, &begin, &end);
  shape.code_bytes = static_cast<uint64_t>(static_cast<const char*>(end) - static_cast<const char*>(begin));
}

// A look at the first bytes: code that was compiled elsewhere is never loaded, whatever it claims to be.
Result<void> check_magic(std::span<const uint8_t> wasm) {
  constexpr uint8_t magic[] = {0, 'a', 's', 'm'};
  constexpr uint8_t native_magic[] = {0x7f, 'E', 'L', 'F'};
  if (wasm.size() >= 8 && std::equal(std::begin(native_magic), std::end(native_magic), wasm.begin()))
    return fail(ErrorCode::corrupt, "native code, which is not taken from outside; send the WebAssembly module");
  if (wasm.size() < 8 || !std::equal(std::begin(magic), std::end(magic), wasm.begin()))
    return fail(ErrorCode::corrupt, "not a WebAssembly module");
  return {};
}

std::span<const uint8_t> as_bytes(const std::string& text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

}  // namespace

bool Program::exports(std::string_view function) const noexcept {
  return std::find(shape_.exported_functions.begin(), shape_.exported_functions.end(), function) != shape_.exported_functions.end();
}

Result<std::unique_ptr<ProgramLoader>> ProgramLoader::create(wasm_engine_t* engine, const std::vector<HostFunction>& functions,
                                                             CodeCache cache, std::filesystem::path compiler) {
  auto loader = std::unique_ptr<ProgramLoader>(new ProgramLoader(engine, functions, std::move(cache), std::move(compiler)));
  for (const bool memory64 : {false, true}) {
    auto linker = loader->make_linker(memory64);
    if (!linker) return fail(std::move(linker));
    (memory64 ? loader->linker64_ : loader->linker32_) = std::move(*linker);
  }
  return loader;
}

Result<WasmLinker> ProgramLoader::make_linker(bool memory64) const {
  WasmLinker linker(wasmtime_linker_new(engine_));
  for (const HostFunction& function : functions_) {
    if (function.parameters.size() > host_parameters_max) {
      return fail(ErrorCode::invalid_argument, "host function " + function.name + ": too many parameters");
    }
    const WasmFuncType type = type_of(function, memory64);
    void* data = const_cast<HostFunction*>(&function);
    const WasmError error(
        function.may_suspend
            ? wasmtime_linker_define_async_func(linker.get(), function.module.data(), function.module.size(), function.name.data(),
                                                function.name.size(), type.get(), InstanceCore::call_suspending, data, nullptr)
            : wasmtime_linker_define_func_unchecked(linker.get(), function.module.data(), function.module.size(), function.name.data(),
                                                    function.name.size(), type.get(), InstanceCore::call_immediate, data, nullptr));
    if (error) return fail(ErrorCode::invalid_argument, "host function " + function.name + ": " + message_of(*error));
  }
  return linker;
}

Result<std::shared_ptr<const Program>> ProgramLoader::load(std::span<const uint8_t> wasm,
                                                           std::span<const std::string_view> required_exports) const {
  if (auto valid = check_magic(wasm); !valid) return fail(std::move(valid));
  const std::string key = sha256_hex(wasm);
  WasmModule module = cache_.load(engine_, key);
  if (!module) {
    wasmtime_module_t* compiled = nullptr;
    const WasmError error(wasmtime_module_new(engine_, wasm.data(), wasm.size(), &compiled));
    if (error) return fail(ErrorCode::unsupported, "not accepted: " + message_of(*error));
    module.reset(compiled);
    cache_.store(*module, key);
  }
  return link(std::move(module), required_exports, nullptr);
}

Result<std::shared_ptr<const Program>> ProgramLoader::load_confined(const StrangersModule& stranger,
                                                                    std::span<const std::string_view> required_exports,
                                                                    ModuleShape* shape) const {
  WasmModule module = cache_.load(engine_, stranger.key);
  if (!module) {
    auto compiled = compile_confined(stranger);
    if (!compiled) return fail(std::move(compiled));
    module = std::move(*compiled);
  }
  return link(std::move(module), required_exports, shape);
}

Result<WasmModule> ProgramLoader::compile_confined(const StrangersModule& stranger) const {
  const auto wasm = stranger.read();
  if (!wasm) return std::unexpected(wasm.error());
  if (auto valid = check_magic(as_bytes(*wasm)); !valid) return fail(std::move(valid));
  const auto code = compile_in_child(compiler_, *wasm);
  if (!code) return std::unexpected(code.error());
  wasmtime_module_t* module = nullptr;
  const WasmError error(wasmtime_module_deserialize(engine_, as_bytes(*code).data(), code->size(), &module));
  if (error) return fail(ErrorCode::unsupported, "not accepted: " + message_of(*error));
  cache_.store({code->data(), code->size()}, stranger.key);
  return WasmModule(module);
}

Result<std::shared_ptr<const Program>> ProgramLoader::link(WasmModule module, std::span<const std::string_view> required_exports,
                                                           ModuleShape* shape) const {
  auto program = std::make_shared<Program>();
  program->module_ = std::move(module);
  read_exports(*program->module_, program->shape_);
  auto imports = check_imports(*program->module_, program->shape_);
  if (shape != nullptr) *shape = program->shape_;
  if (!imports) return fail(std::move(imports));
  std::vector<std::string> missing;
  for (const std::string_view name : required_exports) {
    if (!program->exports(name)) missing.emplace_back(name);
  }
  if (!missing.empty()) return fail(ErrorCode::unsupported, "does not export the function " + list_of(missing));

  wasmtime_instance_pre_t* linked = nullptr;
  const auto& linker = program->is_memory64() ? linker64_ : linker32_;
  const WasmError error(wasmtime_linker_instantiate_pre(linker.get(), program->module_.get(), &linked));
  if (error) return fail(ErrorCode::unsupported, "an import has another type than the host's: " + message_of(*error));
  program->linked_.reset(linked);
  return std::shared_ptr<const Program>(std::move(program));
}

Result<void> ProgramLoader::check_imports(const wasmtime_module_t& module, ModuleShape& shape) const {
  constexpr size_t name_bytes_max = 64;
  wasm_importtype_vec_t imports;
  wasmtime_module_imports(&module, &imports);
  std::vector<std::string> unknown;
  for (size_t i = 0; i < imports.size; ++i) {
    const std::string_view from = text_of(wasm_importtype_module(imports.data[i]));
    const std::string_view name = text_of(wasm_importtype_name(imports.data[i]));
    const bool is_function = wasm_externtype_kind(wasm_importtype_type(imports.data[i])) == WASM_EXTERN_FUNC;
    const bool offered =
        std::any_of(functions_.begin(), functions_.end(), [&](const HostFunction& f) { return f.module == from && f.name == name; });
    shape.imports.push_back(std::string(from.substr(0, name_bytes_max)) + "." + std::string(name.substr(0, name_bytes_max)));
    if (!is_function || !offered) unknown.push_back(shape.imports.back());
  }
  wasm_importtype_vec_delete(&imports);
  if (unknown.empty()) return {};
  return fail(ErrorCode::unsupported, "imports what this host does not offer: " + list_of(unknown));
}

}  // namespace realm::sandbox
