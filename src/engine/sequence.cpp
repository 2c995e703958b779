#include "engine/sequence.h"

#include <algorithm>

#include "base/clock.h"
#include "engine/shared_sequence.h"

namespace realm::engine {

bool Inbox::push(std::shared_ptr<SharedSequence> sequence) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_.load(std::memory_order_relaxed)) return false;
    waiting_.push_back(std::move(sequence));
  }
  arrived_.notify_one();
  return true;
}

void Inbox::take(std::vector<std::shared_ptr<SharedSequence>>& into, int64_t deadline_ns) {
  std::unique_lock lock(mutex_);
  const auto ready = [&] { return !waiting_.empty() || stopping_.load(std::memory_order_relaxed); };
  if (deadline_ns > 0 && !ready()) {
    arrived_.wait_for(lock, std::chrono::nanoseconds(std::max<int64_t>(deadline_ns - monotonic_ns(), 0)), ready);
  }
  into.swap(waiting_);
}

void Inbox::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_.store(true, std::memory_order_release);
  }
  arrived_.notify_all();
}

void notify_scheduler(const std::shared_ptr<SharedSequence>& sequence) {
  if (sequence->in_inbox) return;
  sequence->in_inbox = sequence->inbox->push(sequence);
  if (!sequence->in_inbox && sequence->ended == SequenceStatus::ok) sequence->ended = SequenceStatus::unavailable;
}

namespace {

// What was computed ahead belongs to an older statement: forget it.
void begin_change(SharedSequence& shared) {
  ++shared.epoch;
  shared.mailbox.clear();
  shared.wants = shared.paused = shared.stopped = shared.full = false;
}

// length == keep + added.size() always holds.
void cut(SharedSequence& shared, uint32_t length) {
  if (length < shared.length) shared.banned.clear();
  if (length >= shared.keep) {
    shared.added.resize(std::min<size_t>(shared.added.size(), length - shared.keep));
  } else {
    shared.keep = length;
    shared.added.clear();
  }
  shared.length = length;
}

}  // namespace

Sequence::~Sequence() {
  if (!shared_) return;
  std::lock_guard lock(shared_->mutex);
  shared_->closed = true;
  shared_->options.on_ready = nullptr;
  notify_scheduler(shared_);
}

uint32_t Sequence::length() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->length;
}

SequenceStatus Sequence::append(std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) {
    if (token < 0 || static_cast<uint32_t>(token) >= shared_->vocabulary_tokens) return SequenceStatus::invalid_argument;
  }
  std::lock_guard lock(shared_->mutex);
  if (shared_->ended != SequenceStatus::ok) return shared_->ended;
  if (tokens.size() > shared_->tokens_max - shared_->length) return SequenceStatus::context_full;
  begin_change(*shared_);
  if (!tokens.empty()) shared_->banned.clear();
  shared_->added.insert(shared_->added.end(), tokens.begin(), tokens.end());
  shared_->length += static_cast<uint32_t>(tokens.size());
  shared_->stats.prompt_tokens += static_cast<uint32_t>(tokens.size());
  return SequenceStatus::ok;
}

SequenceStatus Sequence::truncate(uint32_t length) {
  std::lock_guard lock(shared_->mutex);
  if (shared_->ended != SequenceStatus::ok) return shared_->ended;
  if (length > shared_->length) return SequenceStatus::invalid_argument;
  begin_change(*shared_);
  cut(*shared_, length);
  return SequenceStatus::ok;
}

SequenceStatus Sequence::set_plan(DecodePlan plan) {
  if (!validate(plan.sampler, shared_->vocabulary_tokens)) return SequenceStatus::invalid_argument;
  std::lock_guard lock(shared_->mutex);
  if (shared_->ended != SequenceStatus::ok) return shared_->ended;
  begin_change(*shared_);
  shared_->plan = std::move(plan);
  shared_->plan_changed = true;
  return SequenceStatus::ok;
}

SequenceStatus Sequence::reject(uint32_t position, std::span<const int32_t> banned) {
  if (banned.size() > banned_tokens_max) return SequenceStatus::limit;
  for (const int32_t token : banned) {
    if (token < 0 || static_cast<uint32_t>(token) >= shared_->vocabulary_tokens) return SequenceStatus::invalid_argument;
  }
  std::lock_guard lock(shared_->mutex);
  if (shared_->ended != SequenceStatus::ok) return shared_->ended;
  if (position > shared_->length || position == 0) return SequenceStatus::invalid_argument;
  const size_t standing = position == shared_->length ? shared_->banned.size() : 0;
  if (standing + banned.size() > banned_tokens_max) return SequenceStatus::limit;
  begin_change(*shared_);
  shared_->stats.generated_tokens -= std::min(shared_->length - position, shared_->stats.generated_tokens);
  cut(*shared_, position);
  shared_->banned.insert(shared_->banned.end(), banned.begin(), banned.end());
  return SequenceStatus::ok;
}

Sequence::Next Sequence::next(std::span<int32_t> out) {
  if (out.empty()) return {SequenceStatus::invalid_argument, 0};
  std::lock_guard lock(shared_->mutex);
  SharedSequence& shared = *shared_;
  if (shared.length == 0) return {SequenceStatus::invalid_argument, 0};
  if (!shared.mailbox.empty()) {
    const auto count = std::min(out.size(), shared.mailbox.size());
    std::copy_n(shared.mailbox.begin(), count, out.begin());
    shared.mailbox.erase(shared.mailbox.begin(), shared.mailbox.begin() + static_cast<ptrdiff_t>(count));
    shared.length += static_cast<uint32_t>(count);
    shared.keep = shared.length;
    shared.banned.clear();
    shared.stats.generated_tokens += static_cast<uint32_t>(count);
    if (shared.paused) {
      shared.paused = false;
      notify_scheduler(shared_);
    }
    return {SequenceStatus::ok, static_cast<uint32_t>(count)};
  }
  if (shared.ended != SequenceStatus::ok) return {shared.ended, 0};
  if (shared.full || shared.length >= shared.tokens_max) return {SequenceStatus::context_full, 0};
  shared.owner_waits = true;
  if (!shared.wants || shared.stopped) {
    shared.wants = true;
    shared.stopped = false;
    notify_scheduler(shared_);
  }
  return {shared.ended, 0};
}

SequenceStats Sequence::stats() const {
  std::lock_guard lock(shared_->mutex);
  SequenceStats stats = shared_->stats;
  stats.tokens = shared_->length;
  return stats;
}

}  // namespace realm::engine
