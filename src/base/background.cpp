#include "base/background.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>

namespace realm {
namespace {

constexpr int background_nice = 19;  // where the system refuses the policy

std::atomic<uint32_t> works{0};

}  // namespace

// Both are the thread's alone, on Linux. A thread of SCHED_IDLE runs when no other wants the processor and leaves it at once when one
// does. A niceness alone is a time slice of 3 ms now and then, in the midst of a step.
void enter_background() noexcept {
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), background_nice);
  const sched_param parameters{};
  sched_setscheduler(0, SCHED_IDLE, &parameters);
}

BackgroundWork::BackgroundWork() noexcept { works.fetch_add(1, std::memory_order_relaxed); }
BackgroundWork::~BackgroundWork() { works.fetch_sub(1, std::memory_order_relaxed); }

uint32_t BackgroundWork::count() noexcept { return works.load(std::memory_order_relaxed); }

}  // namespace realm
