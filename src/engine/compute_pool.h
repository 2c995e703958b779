// The compute threads of the process: one ggml thread pool that every loaded model takes in turn.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "base/result.h"

struct llama_context;

namespace realm::engine {

class ComputePool {
 public:
  // threads: 1 to 512; 0 means one for each physical core.
  static Result<std::shared_ptr<ComputePool>> create(uint32_t threads);
  ~ComputePool();
  ComputePool(const ComputePool&) = delete;
  ComputePool& operator=(const ComputePool&) = delete;

  uint32_t threads() const noexcept { return threads_; }

  // Binds the calling thread, one that computes on the pool again and again, to the core that the other threads leave to it. Does
  // nothing when the threads are not bound: only a pool with a thread for every core is.
  void bind_caller() const noexcept;

  // Makes `context` compute on these threads. Before its first decode.
  void attach(llama_context* context) const;

  // Held by a scheduler during a step: two models never spin on the same cores at once.
  [[nodiscard]] std::unique_lock<std::mutex> acquire() { return std::unique_lock(turn_); }

  // Calls task(i) for 0 <= i < count, spread over the threads that just computed (they are still spinning, so no thread has to be
  // woken), and returns when all are done. Only while holding acquire(). Tasks must not throw.
  void run(uint32_t count, const std::function<void(uint32_t)>& task);

  // Keeps the pool's threads off their cores for background_share of `computed_ns`, the time that they have just computed, when
  // BackgroundWork has something to do and there is no core besides. Takes acquire() itself. Returns for how many ns.
  int64_t give_way(int64_t computed_ns);

 private:
  struct Impl;
  explicit ComputePool(uint32_t threads);
  uint32_t threads_ = 1;
  std::mutex turn_;
  int64_t owed_ns_ = 0;  // to work of low priority; guarded by turn_
  std::unique_ptr<Impl> impl_;
};

}  // namespace realm::engine
