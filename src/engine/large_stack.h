// Calls code whose recursion depth grows with its input, where the caller's stack (some 256 KiB in a guest's host call) is too
// small for it.
#pragma once

#include <cstddef>
#include <functional>

namespace realm::engine {

// Runs `task` on a stack of `bytes` and waits for it. Only what the task uses of the stack becomes resident, and that is returned;
// 0 when no such stack or thread could be had, and the task did not run. The task must not throw. Takes some tens of microseconds.
size_t run_on_large_stack(size_t bytes, const std::function<void()>& task);

}  // namespace realm::engine
