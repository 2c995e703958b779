// Computes what the operator publishes for one model, one prefix after the other, beside everybody's requests.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/scheduler.h"

namespace realm::runtime {

// Any thread. The scheduler outlives it.
class PrefixPublisher {
 public:
  explicit PrefixPublisher(engine::Scheduler& scheduler) : scheduler_(scheduler) {}
  ~PrefixPublisher();  // within one step
  PrefixPublisher(const PrefixPublisher&) = delete;
  PrefixPublisher& operator=(const PrefixPublisher&) = delete;

  // From now on these are published, and none else. Returns at once.
  void set(std::vector<std::string> texts);

 private:
  void run();
  void publish(const std::string& text, uint64_t revision);
  bool is_superseded(uint64_t revision);
  void wake();

  engine::Scheduler& scheduler_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> texts_;  // guarded
  uint64_t revision_ = 0;           // guarded; of texts_
  bool stopping_ = false;           // guarded
  std::atomic<bool> awake_{false};  // the sequence is ready, or there is other work
  std::thread thread_;              // guarded; from the first set() on
};

}  // namespace realm::runtime
