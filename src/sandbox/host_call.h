// What a host function sees of the guest that called it, and how it suspends or ends that guest.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace realm::sandbox {

class InstanceCore;

// Why a host function ends the instance that called it. The code is the embedder's; the sandbox only carries it.
struct HostEnd {
  int32_t code = 0;
  std::string message;
};

// The codes of a program that leaves by WASI's proc_exit: with 0, or with anything else. The embedder's own codes lie below.
inline constexpr int32_t end_code_exit_success = 0x10000;
inline constexpr int32_t end_code_exit_failure = 0x10001;

// Brings a suspended instance back to a worker, which then polls the pending host function again. Copyable, any thread, any
// number of times; waking an instance that is not suspended, or has ended, does no harm. Holds memory of the instance's
// bookkeeping only, never its sandbox.
class Waker {
 public:
  Waker() = default;
  explicit Waker(std::shared_ptr<InstanceCore> core) : core_(std::move(core)) {}
  void wake() const noexcept;
  explicit operator bool() const noexcept { return core_ != nullptr; }

 private:
  std::shared_ptr<InstanceCore> core_;
};

// One call of a host function. Lives on the worker's stack for one poll; guest memory stays where it is while the guest is inside
// a host function, so the spans a function was given are valid until it returns, not longer.
class HostCall {
 public:
  HostCall(void* host, std::span<uint8_t> memory, const std::shared_ptr<InstanceCore>* core) noexcept
      : host_(host), memory_(memory), core_(core) {}

  // The object that the embedder gave to Sandbox::start.
  void* host() const noexcept { return host_; }

  // The whole linear memory of the caller at the time of the call.
  std::span<uint8_t> memory() const noexcept { return memory_; }

  // For a function that may suspend: keep a copy where the awaited event can reach it, then return nullopt.
  Waker waker() const { return Waker(*core_); }

  // For a function that computes for long: asked about every millisecond. True when the instance's turn is over, because others are
  // ready, its CPU time is used up or it was cancelled: return nullopt, and the function is called again when the turn comes back.
  [[nodiscard]] bool turn_is_over() const noexcept;

  // For a function that is about to compute for long in one go: true when the instance is in the background (see
  // SandboxOptions::foreground_cpu_ms). Otherwise return nullopt, and the function is called again there.
  [[nodiscard]] bool goes_on_in_background() const noexcept;

  // Ends the instance when the host function returns; its result is then ignored. The outcome is OutcomeKind::ended_by_host.
  void end(int32_t code, std::string message) { end_ = std::make_unique<HostEnd>(code, std::move(message)); }
  std::unique_ptr<HostEnd> take_end() noexcept { return std::move(end_); }

 private:
  void* host_;
  std::span<uint8_t> memory_;
  const std::shared_ptr<InstanceCore>* core_;
  std::unique_ptr<HostEnd> end_;
};

}  // namespace realm::sandbox
