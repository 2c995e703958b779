// One live sandbox: its store, the call in progress, its limits. Internal to the sandbox.
//
// States. A worker owns the store while `running`; in every other state nobody touches it. wake() and cancel() may come from any
// thread at any time and only move the state or set the kill reason.
//
//   queued -> running -> suspended -> queued ...   a host function waits, a Waker brings the instance back
//                     -> queued                    its time slice is over, or it was woken before it had suspended
//                     -> ended                     final; later wakes find nothing to do
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "sandbox/host_call.h"
#include "sandbox/host_function.h"
#include "sandbox/program.h"
#include "sandbox/sandbox.h"
#include "sandbox/wasm_types.h"

namespace realm::sandbox {

class Executor;

constexpr size_t host_parameters_max = 16;
constexpr int32_t host_exception_code = INT32_MIN;  // HostEnd::code when a host function threw

// A host function that said "not yet". An instance waits in at most one.
struct PendingCall {
  const HostFunction* function = nullptr;
  RawValue arguments[host_parameters_max];
  std::span<uint8_t> memory;  // stays where it is: the guest cannot grow it while it waits
  wasmtime_val_t* result = nullptr;
};

class InstanceCore : public std::enable_shared_from_this<InstanceCore> {
 public:
  enum class State : uint8_t { queued, running, notified, suspended, ended };
  enum class Kill : uint8_t { none, cpu, wall, cancelled, host };

  InstanceCore(std::shared_ptr<Executor> executor, std::shared_ptr<const Program> program, StartOptions options);

  // Any thread.
  void wake() noexcept;
  void kill(Kill reason) noexcept;

  // Worker only. Runs until the instance ends, suspends or has used its slice; true when it has ended.
  bool run();
  // Worker only, after run() gave true: takes the sandbox down and returns how it went.
  Outcome take_outcome();
  // Worker only, after run() gave false: lets go of the instance. True when it has to be queued again at once.
  bool release() noexcept;

  StartOptions& options() noexcept { return options_; }
  int64_t wall_deadline_ns() const noexcept { return wall_deadline_ns_; }
  std::atomic<State>& state() noexcept { return state_; }

  // Worker only, from within a host function; see HostCall.
  bool turn_is_over() noexcept;
  bool goes_on_in_background() noexcept;

  // Whose workers run it. Changes only while it runs or is being woken.
  bool in_background() const noexcept { return in_background_; }

  // Called by Wasmtime on the worker that runs the instance.
  static wasm_trap_t* call_immediate(void* function, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept;
  static void call_suspending(void* function, wasmtime_caller_t* caller, const wasmtime_val_t* arguments, size_t arguments_count,
                              wasmtime_val_t* results, size_t results_count, wasm_trap_t** trap,
                              wasmtime_async_continuation_t* continuation) noexcept;

 private:
  enum class Phase : uint8_t { create, instantiate, initialize, entry, done };

  bool advance();
  uint64_t give_memory_back();
  void create_store();
  bool begin_call(std::string_view export_name, bool required);
  bool poll_future();
  std::span<uint8_t> memory(wasmtime_caller_t* caller);
  std::optional<RawValue> invoke(HostCall& call, const HostFunction& function, const RawValue* arguments) noexcept;
  bool poll_pending() noexcept;
  static wasmtime_error_t* on_epoch(wasmtime_context_t* context, void* self, uint64_t* delta,
                                    wasmtime_update_deadline_kind_t* kind) noexcept;
  int64_t cpu_ns() const noexcept;
  bool check_cpu() noexcept;
  void move_to_background() noexcept;
  bool must_move() noexcept;
  void end_waiting() noexcept;
  void classify(Outcome& outcome) const;

  const std::shared_ptr<Executor> executor_;
  const std::shared_ptr<const Program> program_;
  StartOptions options_;
  const int64_t wall_deadline_ns_;

  std::atomic<State> state_{State::queued};
  std::atomic<Kill> kill_{Kill::none};

  Phase phase_ = Phase::create;
  WasmStore store_;
  wasmtime_context_t* context_ = nullptr;
  wasmtime_instance_t instance_{};
  wasmtime_memory_t memory_{};
  bool has_memory_ = false;
  wasmtime_func_t function_{};
  wasmtime_val_t result_{};
  size_t results_count_ = 0;
  // Declared after what the call in progress points to, so that it goes first.
  wasm_trap_t* trap_ = nullptr;
  wasmtime_error_t* error_ = nullptr;
  WasmFuture future_;

  PendingCall pending_;
  std::shared_ptr<InstanceCore> self_;  // handed to host calls as the source of Wakers; empty once ended
  std::unique_ptr<HostEnd> end_;
  std::string refusal_;
  bool sliced_ = false;  // its turn is over: nothing more is called on this worker, and it goes to the end of its queue
  int64_t create_began_ns_ = 0;
  int64_t instantiate_ns_ = 0;
  int64_t cpu_used_ns_ = 0;
  int64_t poll_began_cpu_ns_ = 0;
  bool in_background_;
  int64_t foreground_ns_;  // CPU time that it may still use in the foreground
  int64_t waits_since_ns_ = 0;
};

}  // namespace realm::sandbox
