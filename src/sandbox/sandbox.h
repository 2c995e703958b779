// Wasmtime for many tenants: one engine, compiled programs, and instances that live for one request each.
//
// Instances run on a few worker threads. A host function that has to wait suspends its instance, which then costs no thread,
// until a Waker brings it back. Epochs (a tick every SandboxOptions::epoch_ms while any instance runs) give each instance its
// turn and enforce its CPU and wall limits; a suspended instance is watched by the wall limit alone.
//
// The sandbox knows neither models nor tenants nor HTTP: an embedder registers host functions (host_function.h) and hands each
// instance an opaque host pointer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sandbox/host_call.h"
#include "sandbox/host_function.h"
#include "sandbox/program.h"

namespace realm::sandbox {

constexpr uint32_t foreground_cpu_ms_default = 5;

struct SandboxOptions {
  uint32_t instances_max = 1'024;           // live instances; one more is refused. At most 9,000 (vm.max_map_count)
  uint64_t memory_bytes_max = 64ull << 20;  // the largest linear memory that any instance may be allowed
  uint32_t table_elements_max = 10'000;
  uint32_t guest_stack_bytes_max = 256u << 10;
  uint32_t workers = 2;  // threads that run guests
  uint32_t epoch_ms = 1;  // between ticks while an instance runs; up to four times as long before the first
  // CPU time that an instance may use at a stretch before it goes on in the background, on threads that leave the processors to
  // everything else. Waiting gives it back, at a tenth of the time. 1 to 1,000.
  uint32_t foreground_cpu_ms = foreground_cpu_ms_default;
  std::filesystem::path code_cache = {};  // folder for compiled programs; empty: compile at every start
  uint64_t code_cache_bytes_max = 4ull << 30;
  std::filesystem::path compiler = "/proc/self/exe";  // an executable whose main() knows run_compilation_child()
};

// Never more than SandboxOptions allows.
struct InstanceLimits {
  uint64_t memory_bytes_max = 64ull << 20;
  uint32_t table_elements_max = 10'000;
  uint32_t cpu_ms_max = 10'000;    // of guest and host-function CPU on the worker, suspended time not counted
  uint32_t wall_ms_max = 600'000;  // since start, suspended time counted
};

enum class OutcomeKind {
  finished,       // the entry function returned; Outcome::result
  trapped,        // Outcome::trap says how
  out_of_memory,  // trapped with its memory at the limit
  cpu_exceeded,
  wall_exceeded,
  cancelled,
  refused,        // could not be instantiated
  ended_by_host,  // a host function called HostCall::end; Outcome::end
};

enum class TrapCode {
  none,
  stack_overflow,
  memory_out_of_bounds,
  table_out_of_bounds,
  indirect_call_to_null,
  bad_signature,
  integer_overflow,
  integer_division_by_zero,
  bad_conversion,
  unreachable,
  other
};

std::string_view outcome_name(OutcomeKind kind);
std::string_view trap_name(TrapCode code);

struct Outcome {
  OutcomeKind kind = OutcomeKind::finished;
  TrapCode trap = TrapCode::none;
  int32_t result = 0;
  HostEnd end;
  std::string message;          // for the owner of the program: what happened, one line, no host addresses
  uint64_t instantiate_ns = 0;  // from nothing to the entry function's first instruction, on the worker
  uint64_t cpu_ns = 0;
  uint64_t memory_bytes_peak = 0;  // linear memory at the end
};

// A handle to one live instance. Any thread. Dropping it does not end the instance.
class InstanceHandle {
 public:
  InstanceHandle() = default;
  explicit InstanceHandle(std::shared_ptr<InstanceCore> core) : core_(std::move(core)) {}
  // Ends the instance within four epochs, also when it is suspended. Does nothing when it has ended.
  void cancel() const noexcept;
  explicit operator bool() const noexcept { return core_ != nullptr; }

 private:
  std::shared_ptr<InstanceCore> core_;
};

struct StartOptions {
  InstanceLimits limits;
  std::string entry = "handle";                // an exported function `() -> i32`
  bool in_background = false;                  // from the start: see SandboxOptions::foreground_cpu_ms
  void* host = nullptr;                        // given to every host function; must live until on_end returns
  std::function<void(Outcome&&)> on_end = {};  // once, on a worker thread, when the sandbox of the instance is gone
};

struct SandboxStats {
  uint32_t instances_live = 0;
  uint64_t instances_started = 0;
  uint64_t moved_to_background = 0;
  uint64_t outcomes[8] = {};  // by OutcomeKind
};

class Sandbox {
 public:
  // `functions`: every host function a program may import besides WASI. Fails on impossible options, never aborts for them.
  static Result<std::unique_ptr<Sandbox>> create(const SandboxOptions& options, std::vector<HostFunction> functions);
  ~Sandbox();  // cancels what lives and waits for it
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  // Compiles (or takes from the code cache), checks and links. `required_exports` must be there as functions; an import that is
  // not offered is refused by name. Any thread; takes seconds for a large module.
  Result<std::shared_ptr<const Program>> load(std::span<const uint8_t> wasm, std::span<const std::string_view> required_exports);

  // The same for a module that a stranger wrote: it is read and compiled in a process of its own (compile_child.h), at a bounded cost,
  // unless its code is in the cache. What is wrong with the module is corrupt or unsupported; other errors are the system's. `shape`,
  // when given, is filled as soon as the module is compiled, whether or not it can be linked. Blocks. Any thread.
  Result<std::shared_ptr<const Program>> load_confined(const StrangersModule& module, std::span<const std::string_view> required_exports,
                                                       ModuleShape* shape = nullptr);

  // Any thread. Fails with resource_exhausted when instances_max live. After success on_end is called exactly once.
  Result<InstanceHandle> start(const std::shared_ptr<const Program>& program, StartOptions options);

  SandboxStats stats() const;

 private:
  struct Impl;
  explicit Sandbox(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace realm::sandbox
