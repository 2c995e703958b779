// The threads that run guests: workers with one ready queue, and the ticker that drives epochs and wall limits. Internal to the
// sandbox.
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
  Executor(wasm_engine_t* engine, uint32_t workers, uint32_t epoch_ms, uint32_t instances_max);
  ~Executor();

  void start_threads();
  // Cancels everything, waits until it is gone, ends the threads. Afterwards nothing can be admitted.
  void stop();

  // False when instances_max live or the executor has stopped.
  bool admit(const std::shared_ptr<InstanceCore>& instance);
  void enqueue(std::shared_ptr<InstanceCore> instance) noexcept;
  wasm_engine_t* engine() const noexcept { return engine_; }
  bool others_are_ready() const noexcept { return ready_count_.load(std::memory_order_relaxed) > 0; }
  SandboxStats stats() const;

 private:
  void work();
  void finish(const std::shared_ptr<InstanceCore>& instance);
  void tick();

  wasm_engine_t* engine_;
  const uint32_t workers_count_;
  const uint32_t epoch_ms_;
  const uint32_t instances_max_;

  // Holds an instance at most once, so it is bounded by instances_max.
  std::mutex ready_mutex_;
  std::condition_variable ready_changed_;
  std::deque<std::shared_ptr<InstanceCore>> ready_;
  std::atomic<uint32_t> ready_count_{0};
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
