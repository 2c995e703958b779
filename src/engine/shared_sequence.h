// The meeting point of a sequence's owner and the scheduler, and the inbox through which the scheduler learns that an owner has
// stated something new. Internal to the engine.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/kept_rows.h"
#include "engine/sequence.h"

namespace realm::engine {

struct SharedSequence;

// The tokens that may be drawn at a position, as a bitmap of the vocabulary.
using TokenMask = std::vector<uint64_t>;

inline bool is_allowed(std::span<const uint64_t> mask, int32_t token) {
  return (mask[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0;
}

// Holds each sequence at most once, so it is bounded by the number of open sequences. It outlives the scheduler while owners do.
class Inbox {
 public:
  // False once stopped: nobody would take it out any more. With the sequence's lock held.
  bool push(std::shared_ptr<SharedSequence> sequence);
  // Moves everything out. Waits until something is there or `deadline_ns` (monotonic, 0: do not wait) has passed.
  void take(std::vector<std::shared_ptr<SharedSequence>>& into, int64_t deadline_ns);
  // Whether `wanted(flow, tokens)` holds of any sequence in it that wants tokens: its flow, and how many tokens the scheduler has not seen.
  // Cheap when there is none.
  template <class Predicate>
  bool any_asks(Predicate&& wanted);
  void stop();  // wakes the scheduler for good
  bool stopping() const noexcept { return stopping_.load(std::memory_order_acquire); }
  // Memory of the logit rows that sequences keep.
  const std::shared_ptr<std::atomic<uint64_t>>& kept_row_bytes() const noexcept { return kept_row_bytes_; }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<std::shared_ptr<SharedSequence>> waiting_;
  std::atomic<bool> stopping_{false};
  struct Asking {
    FlowId flow;
    uint32_t tokens;
  };
  std::vector<Asking> asking_;  // those in waiting_ that want tokens
  std::atomic<bool> any_asking_{false};
  std::shared_ptr<std::atomic<uint64_t>> kept_row_bytes_ = std::make_shared<std::atomic<uint64_t>>(0);
};

struct SharedSequence {
  // Fixed at opening.
  SequenceOptions options;
  uint32_t tokens_max = 0;
  uint32_t vocabulary_tokens = 0;
  std::shared_ptr<Inbox> inbox;

  // Lock order: this, then the inbox's. Uncontended in practice: taken once a token by the scheduler and once a call by the owner.
  std::mutex mutex;

  // The owner's statement: the tokens as it sees them, kept, added and taken. The scheduler knows the first `keep` of them already.
  uint64_t epoch = 0;
  std::vector<int32_t> tokens;
  uint32_t keep = 0;
  bool plan_changed = false;
  DecodePlan plan;
  bool prompt_added = false;    // what follows `keep` holds more than pushed tokens
  std::vector<int32_t> banned;  // at banned_position, until the token there is followed by another
  uint32_t banned_position = 0;
  std::shared_ptr<const TokenMask> mask;  // at mask_position; null: none
  uint32_t mask_position = 0;
  std::vector<int32_t> guesses;  // what may come from guess_position on
  uint32_t guess_position = 0;
  bool wants = false;  // next() was called since the last change
  bool closed = false;
  bool in_inbox = false;  // or among the forks of one that is
  // Forked from this one and not yet seen by the scheduler, which sees them before what this one states from now on.
  std::vector<std::shared_ptr<SharedSequence>> forks;
  uint64_t family = 0;  // the same for a sequence, its forks and theirs; 0: none

  uint32_t length() const noexcept { return static_cast<uint32_t>(tokens.size()); }

  // The scheduler's answers, valid for `epoch`.
  std::vector<int32_t> mailbox;
  std::vector<float> embedding;  // empty: not there yet
  KeptRows rows;                 // positions up to length() + mailbox.size()
  bool owner_waits = false;
  bool paused = false;   // mailbox full: resumes when some were taken
  bool stopped = false;  // end token or new_tokens_max: resumes when the owner asks for more
  bool full = false;     // tokens_max reached
  SequenceStatus ended = SequenceStatus::ok;
  SequenceStats stats;
};

template <class Predicate>
bool Inbox::any_asks(Predicate&& wanted) {
  if (!any_asking_.load(std::memory_order_acquire)) return false;
  std::lock_guard lock(mutex_);
  return std::any_of(asking_.begin(), asking_.end(), [&wanted](const Asking& one) { return wanted(one.flow, one.tokens); });
}

// Puts the sequence into its inbox unless it is there; ends it when the scheduler has stopped. Call with the lock held.
void notify_scheduler(const std::shared_ptr<SharedSequence>& sequence);

}  // namespace realm::engine
