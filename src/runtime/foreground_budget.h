// What a realm's new instances may compute in the foreground together. Each has a stretch of its own there (SandboxOptions::
// foreground_cpu_ms); without a bound on all of them, a realm whose requests are short and many would never get to the background.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sandbox/sandbox.h"

namespace realm::runtime {

// Not thread-safe.
class ForegroundBudget {
 public:
  static constexpr int64_t most_ns = 40'000'000;
  static constexpr int64_t instance_ns_max =
      sandbox::foreground_cpu_ms_default * 1'000'000;  // charged for one: later it has only what it earned by waiting
  static constexpr int64_t debt_ns_max = 1'000'000'000;
  static constexpr int64_t time_per_cpu = 4;  // in which one unit comes back

  // Whether a new instance begins in the foreground. Times are monotonic.
  bool allows(int64_t now_ns) noexcept {
    left_ns_ = std::min(most_ns, left_ns_ + (now_ns - since_ns_) / time_per_cpu);
    since_ns_ = now_ns;
    return left_ns_ > 0;
  }

  void charge(int64_t cpu_ns) noexcept { left_ns_ = std::max(-debt_ns_max, left_ns_ - cpu_ns); }

 private:
  int64_t left_ns_ = most_ns;
  int64_t since_ns_ = 0;
};

}  // namespace realm::runtime
