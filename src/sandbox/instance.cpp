#include "sandbox/instance.h"

#include <sys/mman.h>

#include <exception>

#include "base/clock.h"
#include "sandbox/executor.h"

namespace realm::sandbox {
namespace {

constexpr uint64_t large_memory_bytes_min = 2u << 20;
constexpr int64_t waiting_per_cpu = 10;  // time in which it earns one unit of CPU time in the foreground

}  // namespace

InstanceCore::InstanceCore(std::shared_ptr<Executor> executor, std::shared_ptr<const Program> program, StartOptions options)
    : executor_(std::move(executor)),
      program_(std::move(program)),
      options_(std::move(options)),
      wall_deadline_ns_(monotonic_ns() + int64_t{options_.limits.wall_ms_max} * 1'000'000),
      in_background_(options_.in_background),
      foreground_ns_(in_background_ ? 0 : executor_->foreground_cpu_ns()) {}

void Waker::wake() const noexcept {
  if (core_) core_->wake();
}

void InstanceHandle::cancel() const noexcept {
  if (core_) core_->kill(InstanceCore::Kill::cancelled);
}

void InstanceCore::wake() noexcept {
  State state = state_.load(std::memory_order_acquire);
  while (true) {
    State next = State::notified;
    if (state == State::suspended) {
      next = State::queued;
    } else if (state != State::running) {
      return;  // queued or notified: it will be polled anyway; ended: nothing to do
    }
    if (!state_.compare_exchange_weak(state, next, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    if (next == State::queued) {
      end_waiting();
      executor_->enqueue(shared_from_this());
    }
    return;
  }
}

void InstanceCore::kill(Kill reason) noexcept {
  Kill none = Kill::none;
  kill_.compare_exchange_strong(none, reason, std::memory_order_acq_rel);
  wake();
}

// What it has waited counts for it. It comes back from the background once it has half of what it may have, not to go to and fro.
void InstanceCore::end_waiting() noexcept {
  const int64_t most = executor_->foreground_cpu_ns();
  foreground_ns_ = std::min(most, foreground_ns_ + (monotonic_ns() - waits_since_ns_) / waiting_per_cpu);
  if (foreground_ns_ >= most / 2) in_background_ = false;
}

bool InstanceCore::release() noexcept {
  waits_since_ns_ = monotonic_ns();
  State running = State::running;
  const State next = sliced_ ? State::queued : State::suspended;
  if (state_.compare_exchange_strong(running, next, std::memory_order_acq_rel)) return sliced_;
  state_.store(State::queued, std::memory_order_release);  // it was notified meanwhile
  return true;
}

int64_t InstanceCore::cpu_ns() const noexcept { return cpu_used_ns_ + thread_cpu_ns() - poll_began_cpu_ns_; }

bool InstanceCore::run() {
  sliced_ = false;
  if (kill_.load(std::memory_order_acquire) != Kill::none) return true;
  if (!self_) self_ = shared_from_this();
  poll_began_cpu_ns_ = thread_cpu_ns();
  const bool ended = advance();
  const int64_t used_ns = thread_cpu_ns() - poll_began_cpu_ns_;
  cpu_used_ns_ += used_ns;
  foreground_ns_ = std::max(foreground_ns_ - used_ns, -executor_->foreground_cpu_ns());
  // A host function that ended the instance while it was suspended cannot raise a trap; this is where it takes effect.
  return ended || kill_.load(std::memory_order_acquire) == Kill::host;
}

// Goes through the phases as far as it can; true when the instance has ended.
bool InstanceCore::advance() {
  while (true) {
    if (phase_ == Phase::create) {
      create_began_ns_ = monotonic_ns();
      create_store();
      future_.reset(wasmtime_instance_pre_instantiate_async(program_->linked(), context_, &instance_, &trap_, &error_));
      phase_ = Phase::instantiate;
    }
    if (!poll_future()) return false;
    if (trap_ != nullptr || error_ != nullptr) return true;
    if (phase_ == Phase::instantiate) {
      wasmtime_extern_t item;
      if (wasmtime_instance_export_get(context_, &instance_, "memory", 6, &item) && item.kind == WASMTIME_EXTERN_MEMORY) {
        memory_ = item.of.memory;
        has_memory_ = true;
      }
      phase_ = Phase::initialize;
      if (begin_call("_initialize", false)) continue;
    }
    if (phase_ == Phase::initialize) {
      phase_ = Phase::entry;
      if (!begin_call(options_.entry, true)) return true;
      instantiate_ns_ = monotonic_ns() - create_began_ns_;
      continue;
    }
    phase_ = Phase::done;
    return true;
  }
}

void InstanceCore::create_store() {
  store_.reset(wasmtime_store_new(executor_->engine(), this, nullptr));
  context_ = wasmtime_store_context(store_.get());
  wasmtime_store_limiter(store_.get(), static_cast<int64_t>(options_.limits.memory_bytes_max), options_.limits.table_elements_max, 1, 4, 1);
  wasmtime_context_set_epoch_deadline(context_, 1);
  wasmtime_store_epoch_deadline_callback(store_.get(), on_epoch, this, nullptr);
}

// False when there is no such function of a fitting type.
bool InstanceCore::begin_call(std::string_view export_name, bool required) {
  wasmtime_extern_t item;
  const bool found = wasmtime_instance_export_get(context_, &instance_, export_name.data(), export_name.size(), &item) &&
                     item.kind == WASMTIME_EXTERN_FUNC;
  if (found) {
    const WasmFuncType type(wasmtime_func_type(context_, &item.of.func));
    const wasm_valtype_vec_t* results = wasm_functype_results(type.get());
    results_count_ = results->size;
    const bool fits = wasm_functype_params(type.get())->size == 0 &&
                      (results_count_ == 0 || (results_count_ == 1 && wasm_valtype_kind(results->data[0]) == WASM_I32));
    if (fits) {
      function_ = item.of.func;
      future_.reset(wasmtime_func_call_async(context_, &function_, nullptr, 0, &result_, results_count_, &trap_, &error_));
      return true;
    }
  }
  if (required) refusal_ = "the program does not export a function " + std::string(export_name) + " that takes nothing and returns an i32";
  return false;
}

// True when the call in progress has ended.
bool InstanceCore::poll_future() {
  if (!wasmtime_call_future_poll(future_.get())) return false;
  future_.reset();
  return true;
}

// False when the CPU time is used up, which then is why the instance ends.
bool InstanceCore::check_cpu() noexcept {
  if (cpu_ns() <= int64_t{options_.limits.cpu_ms_max} * 1'000'000) return true;
  kill_.store(Kill::cpu, std::memory_order_release);
  return false;
}

void InstanceCore::move_to_background() noexcept {
  in_background_ = true;
  executor_->count_moved();
}

// True when it has to go on in the background from now on.
bool InstanceCore::must_move() noexcept {
  if (in_background_ || thread_cpu_ns() - poll_began_cpu_ns_ <= foreground_ns_) return false;
  move_to_background();
  return true;
}

bool InstanceCore::goes_on_in_background() noexcept {
  if (in_background_) return true;
  move_to_background();
  sliced_ = true;
  return false;
}

bool InstanceCore::turn_is_over() noexcept {
  sliced_ = kill_.load(std::memory_order_acquire) != Kill::none || !check_cpu() || must_move() || executor_->others_are_ready(*this);
  return sliced_;
}

bool HostCall::goes_on_in_background() const noexcept { return (*core_)->goes_on_in_background(); }

bool HostCall::turn_is_over() const noexcept { return (*core_)->turn_is_over(); }

wasmtime_error_t* InstanceCore::on_epoch(wasmtime_context_t*, void* self, uint64_t* delta, wasmtime_update_deadline_kind_t* kind) noexcept {
  auto& core = *static_cast<InstanceCore*>(self);
  if (core.kill_.load(std::memory_order_acquire) != Kill::none) return wasmtime_error_new("killed");
  if (!core.check_cpu()) return wasmtime_error_new("killed");
  *delta = 1;
  core.sliced_ = core.must_move() || core.executor_->others_are_ready(core);
  *kind = core.sliced_ ? WASMTIME_UPDATE_DEADLINE_YIELD : WASMTIME_UPDATE_DEADLINE_CONTINUE;
  return nullptr;
}

// -- host functions

std::span<uint8_t> InstanceCore::memory(wasmtime_caller_t* caller) {
  wasmtime_context_t* context = wasmtime_caller_context(caller);
  if (has_memory_) return {wasmtime_memory_data(context, &memory_), wasmtime_memory_data_size(context, &memory_)};
  // During a start function the instance is not known yet.
  wasmtime_extern_t item;
  if (!wasmtime_caller_export_get(caller, "memory", 6, &item) || item.kind != WASMTIME_EXTERN_MEMORY) return {};
  return {wasmtime_memory_data(context, &item.of.memory), wasmtime_memory_data_size(context, &item.of.memory)};
}

std::optional<RawValue> InstanceCore::invoke(HostCall& call, const HostFunction& function, const RawValue* arguments) noexcept {
  try {
    return function.invoke(call, arguments);
  } catch (const std::exception& e) {
    call.end(host_exception_code, std::string("the host could not do it: ") + e.what());
  } catch (...) {
    call.end(host_exception_code, "the host could not do it");
  }
  return RawValue{.i64 = 0};
}

namespace {

constexpr std::string_view ended_text = "ended by the host";

RawValue from_wasm(const wasmtime_val_raw_t& value, ValueKind kind, bool memory64) {
  switch (kind) {
    case ValueKind::i64:
      return {.i64 = value.i64};
    case ValueKind::f32:
      return {.f32 = value.f32};
    case ValueKind::pointer:
      return {.pointer = memory64 ? static_cast<uint64_t>(value.i64) : static_cast<uint64_t>(static_cast<uint32_t>(value.i32))};
    default:
      return {.i32 = value.i32};
  }
}

RawValue from_wasm(const wasmtime_val_t& value, ValueKind kind, bool memory64) {
  wasmtime_val_raw_t raw{};
  if (value.kind == WASMTIME_I64)
    raw.i64 = value.of.i64;
  else if (value.kind == WASMTIME_F32)
    raw.f32 = value.of.f32;
  else
    raw.i32 = value.of.i32;
  return from_wasm(raw, kind, memory64);
}

}  // namespace

wasm_trap_t* InstanceCore::call_immediate(void* opaque, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t) noexcept {
  const auto& function = *static_cast<const HostFunction*>(opaque);
  auto& core = *static_cast<InstanceCore*>(wasmtime_context_get_data(wasmtime_caller_context(caller)));
  RawValue arguments[host_parameters_max];
  for (size_t i = 0; i < function.parameters.size(); ++i) {
    arguments[i] = from_wasm(values[i], function.parameters[i], core.program_->is_memory64());
  }
  HostCall call(core.options_.host, core.memory(caller), &core.self_);
  const auto result = core.invoke(call, function, arguments);
  if (auto end = call.take_end()) {
    core.end_ = std::move(end);
    return wasmtime_trap_new(ended_text.data(), ended_text.size());
  }
  if (function.result == ValueKind::i64)
    values[0].i64 = result->i64;
  else if (function.result == ValueKind::i32)
    values[0].i32 = result->i32;
  return nullptr;
}

void InstanceCore::call_suspending(void* opaque, wasmtime_caller_t* caller, const wasmtime_val_t* values, size_t count,
                                   wasmtime_val_t* results, size_t, wasm_trap_t** trap,
                                   wasmtime_async_continuation_t* continuation) noexcept {
  const auto& function = *static_cast<const HostFunction*>(opaque);
  auto& core = *static_cast<InstanceCore*>(wasmtime_context_get_data(wasmtime_caller_context(caller)));
  core.pending_ = {.function = &function, .arguments = {}, .memory = core.memory(caller), .result = results};
  for (size_t i = 0; i < count; ++i) {
    core.pending_.arguments[i] = from_wasm(values[i], function.parameters[i], core.program_->is_memory64());
  }
  const bool ready = core.poll_pending();
  if (core.end_) {
    *trap = wasmtime_trap_new(ended_text.data(), ended_text.size());
    return;
  }
  continuation->env = &core;
  continuation->finalizer = nullptr;
  if (ready) {
    continuation->callback = [](void*) { return true; };
  } else {
    continuation->callback = [](void* self) {
      auto& waiting = *static_cast<InstanceCore*>(self);
      return waiting.poll_pending() && !waiting.end_;
    };
  }
}

// True when the host function has answered or ended the instance.
bool InstanceCore::poll_pending() noexcept {
  if (kill_.load(std::memory_order_acquire) != Kill::none) return false;  // the worker takes it down before it resumes
  if (sliced_) return false;                                              // Wasmtime asks once more when the function has just suspended
  HostCall call(options_.host, pending_.memory, &self_);
  const auto result = invoke(call, *pending_.function, pending_.arguments);
  if (auto end = call.take_end()) {
    end_ = std::move(end);
    kill_.store(Kill::host, std::memory_order_release);
    return true;
  }
  if (!result) return false;
  pending_.result[0].kind = WASMTIME_I32;
  pending_.result[0].of.i32 = result->i32;
  return true;
}

// -- the end

// The pool cleans the memories of ended instances many at a time. A large one would stay resident until enough others have ended, so its
// pages go at once.
uint64_t InstanceCore::give_memory_back() {
  const uint64_t bytes = wasmtime_memory_data_size(context_, &memory_);
  if (bytes >= large_memory_bytes_min) madvise(wasmtime_memory_data(context_, &memory_), bytes, MADV_DONTNEED);
  return bytes;
}

Outcome InstanceCore::take_outcome() {
  Outcome outcome;
  future_.reset();  // before the store: it may hold the guest's suspended stack
  if (has_memory_) outcome.memory_bytes_peak = give_memory_back();
  outcome.instantiate_ns = static_cast<uint64_t>(instantiate_ns_);
  outcome.cpu_ns = static_cast<uint64_t>(cpu_used_ns_);
  classify(outcome);
  if (trap_ != nullptr) wasm_trap_delete(trap_);
  if (error_ != nullptr) wasmtime_error_delete(error_);
  trap_ = nullptr;
  error_ = nullptr;
  store_.reset();
  self_.reset();
  return outcome;
}

namespace {

TrapCode trap_code_of(wasmtime_trap_code_t code) {
  switch (code) {
    case WASMTIME_TRAP_CODE_STACK_OVERFLOW:
      return TrapCode::stack_overflow;
    case WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS:
      return TrapCode::memory_out_of_bounds;
    case WASMTIME_TRAP_CODE_TABLE_OUT_OF_BOUNDS:
      return TrapCode::table_out_of_bounds;
    case WASMTIME_TRAP_CODE_INDIRECT_CALL_TO_NULL:
      return TrapCode::indirect_call_to_null;
    case WASMTIME_TRAP_CODE_BAD_SIGNATURE:
      return TrapCode::bad_signature;
    case WASMTIME_TRAP_CODE_INTEGER_OVERFLOW:
      return TrapCode::integer_overflow;
    case WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO:
      return TrapCode::integer_division_by_zero;
    case WASMTIME_TRAP_CODE_BAD_CONVERSION_TO_INTEGER:
      return TrapCode::bad_conversion;
    case WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED:
      return TrapCode::unreachable;
    default:
      return TrapCode::other;
  }
}

constexpr uint64_t memory_slack_bytes = 1u << 20;  // a trap with less than this left below the limit is blamed on the limit

}  // namespace

void InstanceCore::classify(Outcome& outcome) const {
  if (end_) {
    outcome.kind = end_->code == host_exception_code ? OutcomeKind::trapped : OutcomeKind::ended_by_host;
    outcome.trap = end_->code == host_exception_code ? TrapCode::other : TrapCode::none;
    outcome.message = end_->message;
    outcome.end = *end_;
    return;
  }
  switch (kill_.load(std::memory_order_acquire)) {
    case Kill::cpu:
      outcome.kind = OutcomeKind::cpu_exceeded;
      return;
    case Kill::wall:
      outcome.kind = OutcomeKind::wall_exceeded;
      return;
    case Kill::cancelled:
      outcome.kind = OutcomeKind::cancelled;
      return;
    default:
      break;
  }
  wasmtime_trap_code_t code{};
  if (trap_ != nullptr) {
    outcome.message = message_of(*trap_);
    outcome.trap = wasmtime_trap_code(trap_, &code) ? trap_code_of(code) : TrapCode::other;
    const bool at_limit = outcome.memory_bytes_peak + memory_slack_bytes > options_.limits.memory_bytes_max;
    const bool blamed = outcome.trap == TrapCode::unreachable || outcome.trap == TrapCode::memory_out_of_bounds;
    outcome.kind = at_limit && blamed ? OutcomeKind::out_of_memory : OutcomeKind::trapped;
  } else if (error_ != nullptr) {
    outcome.message = message_of(*error_);
    outcome.kind = phase_ == Phase::instantiate ? OutcomeKind::refused : OutcomeKind::trapped;
    outcome.trap = phase_ == Phase::instantiate ? TrapCode::none : TrapCode::other;
  } else if (phase_ != Phase::done) {
    outcome.kind = OutcomeKind::refused;
    outcome.message = refusal_;
  } else {
    outcome.result = results_count_ == 1 ? result_.of.i32 : 0;
  }
}

}  // namespace realm::sandbox
