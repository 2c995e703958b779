// Monotonic time. Limits, rates and deadlines use it, so that a change of the wall clock changes none of them.
#pragma once

#include <cstdint>
#include <ctime>

namespace realm {

namespace detail {
inline int64_t clock_ns(clockid_t id) noexcept {
  timespec now{};
  clock_gettime(id, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}
}  // namespace detail

// Nanoseconds since an unspecified start. Any thread.
inline int64_t monotonic_ns() noexcept { return detail::clock_ns(CLOCK_MONOTONIC); }

// CPU nanoseconds that the calling thread has used.
inline int64_t thread_cpu_ns() noexcept { return detail::clock_ns(CLOCK_THREAD_CPUTIME_ID); }

// CPU nanoseconds of all threads of the process.
inline int64_t process_cpu_ns() noexcept { return detail::clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

}  // namespace realm
