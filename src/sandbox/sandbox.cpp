#include "sandbox/sandbox.h"

#include <sys/mman.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "base/log.h"
#include "sandbox/code_cache.h"
#include "sandbox/code_settings.h"
#include "sandbox/executor.h"
#include "sandbox/program_loader.h"
#include "sandbox/wasi.h"

namespace realm::sandbox {
namespace {

constexpr uint64_t host_stack_bytes = 256ull << 10;  // of a fiber, above the guest's own: for host functions
constexpr size_t decommit_batch = 64;                // freed slots are cleaned together: workers would fight over the mmap lock

std::string cpu_flags() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("flags") || line.starts_with("Features")) return line;
  }
  return "unknown";
}

Result<void> check(const SandboxOptions& options) {
  const auto bad = [](const char* name, const char* range) {
    return fail(ErrorCode::invalid_argument, std::string(name) + ": must be " + range);
  };
  if (options.instances_max < 1 || options.instances_max > 9'000) return bad("instances_max", "1 to 9000");
  if (options.memory_bytes_max < 65'536 || options.memory_bytes_max > memory_reservation_bytes)
    return bad("memory_bytes_max", "64 KiB to 4 GiB");
  if (options.table_elements_max < 1 || options.table_elements_max > 10'000'000) return bad("table_elements_max", "1 to 10000000");
  if (options.guest_stack_bytes_max < 65'536 || options.guest_stack_bytes_max > (8u << 20))
    return bad("guest_stack_bytes_max", "64 KiB to 8 MiB");
  if (options.workers < 1 || options.workers > 256) return bad("workers", "1 to 256");
  if (options.epoch_ms < 1 || options.epoch_ms > 1'000) return bad("epoch_ms", "1 to 1000");
  if (options.foreground_cpu_ms < 1 || options.foreground_cpu_ms > 1'000) return bad("foreground_cpu_ms", "1 to 1000");
  return {};
}

wasm_config_t* make_config(const SandboxOptions& options) {
  wasm_config_t* config = make_code_config();
  wasmtime_config_max_wasm_stack_set(config, options.guest_stack_bytes_max);
  wasmtime_config_async_stack_size_set(config, options.guest_stack_bytes_max + host_stack_bytes);
  wasmtime_pooling_allocation_config_t* pool = wasmtime_pooling_allocation_config_new();
  wasmtime_pooling_allocation_config_total_core_instances_set(pool, options.instances_max);
  wasmtime_pooling_allocation_config_total_memories_set(pool, options.instances_max);
  wasmtime_pooling_allocation_config_total_tables_set(pool, options.instances_max * 4);
  wasmtime_pooling_allocation_config_total_stacks_set(pool, options.instances_max);
  wasmtime_pooling_allocation_config_max_memories_per_module_set(pool, 1);
  wasmtime_pooling_allocation_config_max_tables_per_module_set(pool, 4);
  wasmtime_pooling_allocation_config_max_memory_size_set(pool, options.memory_bytes_max);
  wasmtime_pooling_allocation_config_table_elements_set(pool, options.table_elements_max);
  wasmtime_pooling_allocation_config_max_core_instance_size_set(pool, 1u << 20);
  wasmtime_pooling_allocation_config_decommit_batch_size_set(pool, decommit_batch);
  wasmtime_pooling_allocation_config_async_stack_keep_resident_set(pool, 32u << 10);
  wasmtime_pooling_allocation_strategy_set(config, pool);
  wasmtime_pooling_allocation_config_delete(pool);
  return config;
}

// Wasmtime ends the process when the pool's address space cannot be had, so it is asked for beforehand.
bool address_space_is_there(const SandboxOptions& options) {
  const size_t bytes = options.instances_max * (memory_reservation_bytes + memory_guard_bytes) + (1ull << 30);
  void* probe = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (probe == MAP_FAILED) return false;
  munmap(probe, bytes);
  return true;
}

// All that native code depends on besides the program itself.
std::string code_settings(const SandboxOptions& options) {
  return std::string("wasmtime ") + WASMTIME_VERSION + " stack " + std::to_string(options.guest_stack_bytes_max) + " memory " +
         std::to_string(options.memory_bytes_max) + " cpu " + cpu_flags() + "\n";
}

}  // namespace

struct Sandbox::Impl {
  SandboxOptions options;
  std::vector<HostFunction> functions;  // stays where it is: Wasmtime holds pointers to its elements
  WasmEngine engine;
  std::unique_ptr<ProgramLoader> loader;
  std::shared_ptr<Executor> executor;
};

Sandbox::Sandbox(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Sandbox::~Sandbox() {
  if (impl_ && impl_->executor) impl_->executor->stop();
}

Result<std::unique_ptr<Sandbox>> Sandbox::create(const SandboxOptions& options, std::vector<HostFunction> functions) {
  if (auto valid = check(options); !valid) return fail(std::move(valid));
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->functions = wasi_functions();
  std::move(functions.begin(), functions.end(), std::back_inserter(impl->functions));
  if (!address_space_is_there(options)) {
    return fail(ErrorCode::resource_exhausted,
                "the sandbox needs " + std::to_string(options.instances_max * 4) +
                    " GiB of address space (not memory); raise the limit (ulimit -v) or lower instances_max");
  }
  impl->engine.reset(wasm_engine_new_with_config(make_config(options)));
  if (!impl->engine) return fail(ErrorCode::resource_exhausted, "the sandbox could not reserve its address space");
  auto loader =
      ProgramLoader::create(impl->engine.get(), impl->functions,
                            CodeCache(options.code_cache, code_settings(options), options.code_cache_bytes_max), options.compiler);
  if (!loader) return fail(std::move(loader));
  impl->loader = std::move(*loader);
  impl->executor = std::make_shared<Executor>(impl->engine.get(), options);
  impl->executor->start_threads();
  return std::unique_ptr<Sandbox>(new Sandbox(std::move(impl)));
}

Result<std::shared_ptr<const Program>> Sandbox::load(std::span<const uint8_t> wasm, std::span<const std::string_view> required_exports) {
  return impl_->loader->load(wasm, required_exports);
}

Result<std::shared_ptr<const Program>> Sandbox::load_confined(const StrangersModule& module,
                                                              std::span<const std::string_view> required_exports, ModuleShape* shape) {
  return impl_->loader->load_confined(module, required_exports, shape);
}

Result<InstanceHandle> Sandbox::start(const std::shared_ptr<const Program>& program, StartOptions options) {
  if (options.limits.memory_bytes_max > impl_->options.memory_bytes_max ||
      options.limits.table_elements_max > impl_->options.table_elements_max) {
    return fail(ErrorCode::invalid_argument, "instance limits: memory_bytes_max or table_elements_max above what the sandbox allows");
  }
  auto core = std::make_shared<InstanceCore>(impl_->executor, program, std::move(options));
  if (!impl_->executor->admit(core)) {
    return fail(ErrorCode::resource_exhausted, "instances_max: " + std::to_string(impl_->options.instances_max) + " sandboxes are live");
  }
  return InstanceHandle(std::move(core));
}

SandboxStats Sandbox::stats() const { return impl_->executor->stats(); }

std::string_view outcome_name(OutcomeKind kind) {
  static constexpr std::string_view names[] = {"finished",      "trapped",   "out_of_memory", "cpu_exceeded",
                                               "wall_exceeded", "cancelled", "refused",       "ended_by_host"};
  return names[static_cast<size_t>(kind)];
}

std::string_view trap_name(TrapCode code) {
  static constexpr std::string_view names[] = {
      "none",          "stack_overflow",   "memory_out_of_bounds",     "table_out_of_bounds", "indirect_call_to_null",
      "bad_signature", "integer_overflow", "integer_division_by_zero", "bad_conversion",      "unreachable",
      "other"};
  return names[static_cast<size_t>(code)];
}

}  // namespace realm::sandbox
