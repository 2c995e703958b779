// The threads that run guests: workers in the foreground and in the background, each kind with a ready queue, and the ticker that drives
// epochs and wall limits. Internal to the sandbox.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "sandbox/instance.h"

namespace realm::sandbox {

class Executor {
 public:
  Executor(wasm_engine_t* engine, const SandboxOptions& options);
  ~Executor();

  void start_threads();
  // Cancels everything, waits until it is gone, ends the threads. Afterwards nothing can be admitted.
  void stop();

  // False when instances_max live or the executor has stopped.
  bool admit(const std::shared_ptr<InstanceCore>& instance);
  void enqueue(std::shared_ptr<InstanceCore> instance) noexcept;
  wasm_engine_t* engine() const noexcept { return engine_; }
  int64_t foreground_cpu_ns() const noexcept { return foreground_cpu_ns_; }
  // For the workers that run `instance`.
  bool others_are_ready(const InstanceCore& instance) noexcept;
  void count_moved() noexcept { moved_.fetch_add(1, std::memory_order_relaxed); }
  SandboxStats stats() const;

 private:
  struct Queue {
    std::deque<std::shared_ptr<InstanceCore>> ready;  // an instance is in one queue, once, so both are bounded by instances_max
    std::atomic<uint32_t> count{0};
    std::condition_variable changed;
  };
  Queue& queue_of(const InstanceCore& instance) noexcept;
  void work(Queue& queue);
  void finish(const std::shared_ptr<InstanceCore>& instance);
  void tick();

  wasm_engine_t* engine_;
  const uint32_t workers_count_;
  const uint32_t epoch_ms_;
  const uint32_t instances_max_;
  const int64_t foreground_cpu_ns_;

  std::mutex ready_mutex_;
  Queue foreground_;
  Queue background_;
  std::atomic<uint64_t> moved_{0};
  bool stopping_ = false;  // guarded by ready_mutex_

  // Live instances by wall deadline.
  mutable std::mutex live_mutex_;
  std::condition_variable live_changed_;
  std::multimap<int64_t, std::shared_ptr<InstanceCore>> live_;
  bool closed_ = false;  // guarded by live_mutex_: admits nobody
  bool ticker_stopping_ = false;
  SandboxStats stats_;  // guarded by live_mutex_
  std::atomic<uint32_t> running_{0};

  std::vector<std::thread> workers_;
  std::thread ticker_;
};

}  // namespace realm::sandbox
