// What the tests of kernels share: the sets that run on this machine, workers, memory.
#pragma once

#include <barrier>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "kernels/known_sets.h"

extern "C" const realm::kernels::KernelSet realm_kernel_set_wide;

namespace realm::kernels {

inline std::vector<NamedSet> sets_that_run_here() {
  std::vector<NamedSet> sets(known_sets().begin(), known_sets().end());
  if (!sets.empty()) sets.push_back({"wide", &realm_kernel_set_wide});
  return sets;
}

using Work = std::unique_ptr<void, decltype(&std::free)>;

// Filled with what is no number, in whatever way it is read.
inline Work make_work(size_t bytes) {
  Work work(std::aligned_alloc(64, bytes), &std::free);
  std::memset(work.get(), 0xff, bytes);
  return work;
}

template <typename F>
void work_together(int workers, F f) {
  std::barrier<> meeting(workers);
  std::vector<std::jthread> threads;
  for (int i = 0; i < workers; ++i) {
    threads.emplace_back([&, i] {
      const auto wait = [](void* pool) { static_cast<std::barrier<>*>(pool)->arrive_and_wait(); };
      f(Worker{i, workers, wait, &meeting});
    });
  }
}

}  // namespace realm::kernels
