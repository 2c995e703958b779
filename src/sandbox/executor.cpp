#include "sandbox/executor.h"

#include <chrono>
#include <optional>

#include "base/background.h"
#include "base/clock.h"
#include "base/thread_name.h"

namespace realm::sandbox {
namespace {

// Instances mostly wait for tokens and run for microseconds: a tick each millisecond meets none of them running, but takes a core away
// from a step computed on all cores. So the ticker is slower until it meets one.
constexpr uint32_t quiet_epochs = 4;

}  // namespace

Executor::Executor(wasm_engine_t* engine, const SandboxOptions& options)
    : engine_(engine),
      workers_count_(options.workers),
      epoch_ms_(options.epoch_ms),
      instances_max_(options.instances_max),
      foreground_cpu_ns_(int64_t{options.foreground_cpu_ms} * 1'000'000) {}

Executor::~Executor() = default;

void Executor::start_threads() {
  for (uint32_t i = 0; i < workers_count_; ++i) {
    workers_.push_back(start_thread("guests", [this] { work(foreground_); }));
    workers_.push_back(start_thread("guests-low", [this] {
      enter_background();
      work(background_);
    }));
  }
  ticker_ = start_thread("guest-ticker", [this] { tick(); });
}

void Executor::stop() {
  {
    std::unique_lock lock(live_mutex_);
    closed_ = true;
    for (const auto& [deadline, instance] : live_) instance->kill(InstanceCore::Kill::cancelled);
    live_changed_.wait(lock, [this] { return live_.empty(); });
    ticker_stopping_ = true;
  }
  live_changed_.notify_all();
  {
    std::lock_guard lock(ready_mutex_);
    stopping_ = true;
  }
  foreground_.changed.notify_all();
  background_.changed.notify_all();
  for (auto& worker : workers_) worker.join();
  if (ticker_.joinable()) ticker_.join();
}

bool Executor::admit(const std::shared_ptr<InstanceCore>& instance) {
  {
    std::lock_guard lock(live_mutex_);
    if (closed_ || live_.size() >= instances_max_) return false;
    live_.emplace(instance->wall_deadline_ns(), instance);
    ++stats_.instances_started;
  }
  live_changed_.notify_one();
  enqueue(instance);
  return true;
}

void Executor::enqueue(std::shared_ptr<InstanceCore> instance) noexcept {
  Queue& queue = queue_of(*instance);
  {
    std::lock_guard lock(ready_mutex_);
    queue.ready.push_back(std::move(instance));
    queue.count.store(static_cast<uint32_t>(queue.ready.size()), std::memory_order_relaxed);
  }
  queue.changed.notify_one();
}

bool Executor::others_are_ready(const InstanceCore& instance) noexcept {
  return queue_of(instance).count.load(std::memory_order_relaxed) > 0;
}

Executor::Queue& Executor::queue_of(const InstanceCore& instance) noexcept { return instance.in_background() ? background_ : foreground_; }

void Executor::work(Queue& queue) {
  while (true) {
    std::shared_ptr<InstanceCore> instance;
    {
      std::unique_lock lock(ready_mutex_);
      queue.changed.wait(lock, [this, &queue] { return stopping_ || !queue.ready.empty(); });
      if (queue.ready.empty()) return;
      instance = std::move(queue.ready.front());
      queue.ready.pop_front();
      queue.count.store(static_cast<uint32_t>(queue.ready.size()), std::memory_order_relaxed);
    }
    instance->state().store(InstanceCore::State::running, std::memory_order_release);
    running_.fetch_add(1, std::memory_order_relaxed);
    bool ended = false;
    {
      std::optional<BackgroundWork> work;
      if (&queue == &background_) work.emplace();
      ended = instance->run();
    }
    running_.fetch_sub(1, std::memory_order_relaxed);
    if (ended) {
      finish(instance);
    } else if (instance->release()) {
      enqueue(std::move(instance));
    }
  }
}

void Executor::finish(const std::shared_ptr<InstanceCore>& instance) {
  Outcome outcome = instance->take_outcome();
  instance->state().store(InstanceCore::State::ended, std::memory_order_release);
  auto on_end = std::move(instance->options().on_end);
  {
    std::lock_guard lock(live_mutex_);
    const auto [first, last] = live_.equal_range(instance->wall_deadline_ns());
    for (auto it = first; it != last; ++it) {
      if (it->second == instance) {
        live_.erase(it);
        break;
      }
    }
    ++stats_.outcomes[static_cast<size_t>(outcome.kind)];
  }
  if (on_end) on_end(std::move(outcome));
  on_end = nullptr;
  live_changed_.notify_all();
}

void Executor::tick() {
  std::unique_lock lock(live_mutex_);
  while (!ticker_stopping_) {
    if (live_.empty()) {
      live_changed_.wait(lock, [this] { return ticker_stopping_ || !live_.empty(); });
      continue;
    }
    const int64_t now = monotonic_ns();
    for (auto it = live_.begin(); it != live_.end() && it->first <= now; ++it) it->second->kill(InstanceCore::Kill::wall);
    lock.unlock();
    const bool anybody_runs = running_.load(std::memory_order_relaxed) > 0;
    if (anybody_runs) wasmtime_engine_increment_epoch(engine_);
    std::this_thread::sleep_for(std::chrono::milliseconds(anybody_runs ? epoch_ms_ : epoch_ms_ * quiet_epochs));
    lock.lock();
  }
}

SandboxStats Executor::stats() const {
  std::lock_guard lock(live_mutex_);
  SandboxStats stats = stats_;
  stats.moved_to_background = moved_.load(std::memory_order_relaxed);
  stats.instances_live = static_cast<uint32_t>(live_.size());
  return stats;
}

}  // namespace realm::sandbox
