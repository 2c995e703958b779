// One token history with its KV cache, as its owner sees it.
//
// The owner's thread and the scheduler's thread meet here and nowhere else. The owner states what the sequence should be (tokens to
// keep, to add, how to sample); the scheduler picks the newest statement up between two steps and leaves sampled tokens in the
// mailbox. Statements coalesce, so nothing queues up without bound, however fast an owner changes its mind.
//
// Running ahead: while the owner wants tokens, the scheduler goes on sampling up to run_ahead_tokens_max beyond what was taken. Any
// change by the owner (append, truncate, reject, sampler) bumps the epoch, empties the mailbox and makes the scheduler roll back to
// the owner's length; what then follows is what would have followed without running ahead.
//
// A judged sequence (DecodePlan::keep_rows) is one whose owner looks at each token: next() gives one at a time, the scheduler runs
// ahead less and keeps the logit rows of the newest tokens. A refused token is then drawn anew from its row, in time for the very next
// step. Better still, the owner states by mask() what may come before it is drawn, while the step that computes its row is running.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/sampler.h"

namespace realm::engine {

class Scheduler;
struct ScheduledSequence;

using FlowId = uint64_t;                       // whose work it is, for fairness; opaque here
constexpr FlowId published_flow = UINT64_MAX;  // nobody's: what it keeps, sequences of every flow may begin with

constexpr uint32_t banned_tokens_max = 4'096;
constexpr uint32_t run_ahead_tokens_max = 16;
constexpr uint32_t candidates_max = 1'024;
constexpr uint32_t guesses_max = 16;

enum class SequenceStatus {
  ok,
  context_full,       // tokens_max or the context length reached
  invalid_argument,   // token id, position or parameter out of range
  limit,              // more KV tokens than the whole cache has
  deadline_exceeded,  // not admitted in time
  unavailable,        // the device failed, or the scheduler is stopping
};

enum class Priority : uint8_t { low, normal, high };

struct SequenceOptions {
  FlowId flow = 0;
  uint32_t tokens_max = 0;  // prompt and answer together; 0: the context length
  Priority priority = Priority::normal;
  bool embeds = false;       // the owner wants embed() and no tokens
  bool keep_prefix = false;  // when it ends, its KV may serve later ones of the same flow; it begins with what is kept
  bool dormant = false;      // there to be forked and never asked for tokens: its saved KV is given up before that of others
  uint32_t queue_deadline_ms = 30'000;
  std::function<void()> on_ready = {};  // after next() said "wait": called once on the scheduler's thread; must be quick
};

struct SequenceStats {
  uint32_t tokens = 0;
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;
  uint32_t generated_tokens = 0;
  uint32_t discarded_tokens = 0;
  uint64_t queue_ns = 0;
  uint64_t prefill_ns = 0;
  uint64_t decode_ns = 0;
};

struct DecodePlan {
  SamplerParams sampler = {};
  bool stop_at_end = false;     // do not run ahead past an end-of-generation token
  uint32_t new_tokens_max = 0;  // bound of running ahead, counted from the first draw; 0: none
  bool keep_rows = false;       // the owner judges each token
};

struct TokenLogprob {
  int32_t token;
  float logprob;
};

// All members: one owner thread at a time (it may change). Dropping the object closes the sequence.
class Sequence {
 public:
  ~Sequence();
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  uint32_t length() const;
  SequenceStatus append(std::span<const int32_t> tokens);
  SequenceStatus truncate(uint32_t length);
  SequenceStatus set_plan(DecodePlan plan);
  // Adds tokens that the owner has chosen itself in place of a draw: they count as generated.
  SequenceStatus push(std::span<const int32_t> tokens);
  // Takes back the tokens from `position` on and bans `banned` there. The bans of a position add up until a token in its place is
  // followed by another one; an empty list lifts them.
  SequenceStatus reject(uint32_t position, std::span<const int32_t> banned);
  // States which tokens may be drawn at `position`, at most the length: bit (id % 64) of word (id / 64), a bit for every token of the
  // vocabulary. Takes back what follows, and what was drawn there unless it is allowed. Holds as bans do.
  SequenceStatus mask(uint32_t position, std::span<const uint64_t> allowed);

  // What the owner thinks comes next, at most guesses_max tokens. The scheduler computes them along with the next token and keeps those
  // that it would have drawn: the output does not change, the steps become fewer. Holds until the next change, and until a token that
  // differs is drawn. Ignored where a guess would cost somebody else's time, and of a judged sequence.
  SequenceStatus guess(std::span<const int32_t> tokens);

  struct Next {
    SequenceStatus status = SequenceStatus::ok;
    uint32_t count = 0;  // 0 with ok: not yet; on_ready will be called
  };
  // Takes sampled tokens, as many as are there and fit. A sequence without tokens is invalid_argument.
  Next next(std::span<int32_t> out);

  // True when next() would not have to wait: tokens are there, or it would fail. Otherwise on_ready will be called.
  bool is_ready();

  // Copies the vector of all tokens so far: ModelInfo::embedding_values values as its Pooling says, not normalised. `count` is how many
  // values it has; when `out` is shorter nothing is copied. Only of a sequence that was opened for it, which is computed from its first
  // append on.
  Next embed(std::span<float> out);

  // The likeliest tokens that might have been drawn at `position`, raw logits, normalised over the vocabulary; at most `count` and
  // candidates_max. Only of a judged sequence, for the token taken last, and what was pushed or taken back has no row: else nothing.
  std::vector<TokenLogprob> candidates(uint32_t position, uint32_t count) const;
  // The log-probabilities of given tokens there, in `logprobs`, which is as long as `tokens`. False when no row is kept.
  bool logprobs(uint32_t position, std::span<const int32_t> tokens, std::span<float> logprobs) const;

  // Copies the whole row of raw logits there; returns how many there are, 0 when no row is kept. When `out` is shorter nothing is copied.
  uint32_t logits(uint32_t position, std::span<float> out) const;

  SequenceStats stats() const;

 private:
  friend class Scheduler;
  Sequence() = default;
  std::shared_ptr<const class KeptRow> row(uint32_t position) const;
  std::shared_ptr<struct SharedSequence> shared_;
};

}  // namespace realm::engine
