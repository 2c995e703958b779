// A sequence that a plain thread can wait on: for tests and benchmarks, which have no sandbox to suspend.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "engine/scheduler.h"

namespace realm::engine {

class BlockingSequence {
 public:
  BlockingSequence(Scheduler& scheduler, SequenceOptions options) : signal_(std::make_shared<Signal>()) {
    options.on_ready = [signal = signal_] { signal->set(); };
    if (auto opened = scheduler.open(std::move(options))) sequence_ = std::move(*opened);
  }
  // A fork of another one.
  BlockingSequence(Scheduler& scheduler, const Sequence& of, uint32_t length, SequenceOptions options)
      : signal_(std::make_shared<Signal>()) {
    options.on_ready = [signal = signal_] { signal->set(); };
    if (auto forked = scheduler.fork(of, length, std::move(options))) sequence_ = std::move(*forked);
  }

  explicit operator bool() const noexcept { return sequence_ != nullptr; }
  Sequence& operator*() const noexcept { return *sequence_; }
  Sequence* operator->() const noexcept { return sequence_.get(); }
  void close() { sequence_.reset(); }

  // Waits for at least one token or a status other than ok.
  Sequence::Next next(std::span<int32_t> out) {
    while (true) {
      const auto next = sequence_->next(out);
      if (next.count > 0 || next.status != SequenceStatus::ok) return next;
      std::unique_lock lock(signal_->mutex);
      signal_->changed.wait(lock, [this] { return std::exchange(signal_->ready, false); });
    }
  }

  // Takes `count` tokens, fewer when the sequence ends.
  std::vector<int32_t> take(size_t count) {
    std::vector<int32_t> tokens(count);
    size_t taken = 0;
    while (taken < count) {
      const auto got = next(std::span(tokens).subspan(taken));
      if (got.status != SequenceStatus::ok) break;
      taken += got.count;
    }
    tokens.resize(taken);
    return tokens;
  }

 private:
  struct Signal {
    std::mutex mutex;
    std::condition_variable changed;
    bool ready = false;

    void set() {
      {
        std::lock_guard lock(mutex);
        ready = true;
      }
      changed.notify_one();
    }
  };
  std::shared_ptr<Signal> signal_;
  std::unique_ptr<Sequence> sequence_;
};

}  // namespace realm::engine
