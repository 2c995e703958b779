#include "engine/sequence.h"

#include <algorithm>
#include <cmath>

#include "base/clock.h"
#include "engine/shared_sequence.h"

namespace realm::engine {

bool Inbox::push(std::shared_ptr<SharedSequence> sequence) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_.load(std::memory_order_relaxed)) return false;
    if (sequence->wants && !sequence->closed) {
      asking_.push_back({sequence->options.flow, sequence->length() - sequence->keep});
      any_asking_.store(true, std::memory_order_release);
    }
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
  asking_.clear();
  any_asking_.store(false, std::memory_order_relaxed);
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
  shared.embedding.clear();
  shared.guesses.clear();
  shared.wants = shared.paused = shared.stopped = shared.full = false;
  shared.rows.drop_after(shared.length());
}

// Bans and the mask of a position end when another token follows the one there, or the position is beyond the end.
void forget_old_limits(SharedSequence& shared) {
  const auto is_old = [length = shared.length()](uint32_t position) { return position > length || position + 1 < length; };
  if (is_old(shared.banned_position)) shared.banned.clear();
  if (is_old(shared.mask_position)) shared.mask.reset();
}

void cut(SharedSequence& shared, uint32_t length) {
  shared.rows.drop_after(length);
  shared.keep = std::min(shared.keep, length);
  shared.tokens.resize(length);
  forget_old_limits(shared);
}

bool are_tokens(std::span<const int32_t> tokens, uint32_t vocabulary_tokens) {
  return std::ranges::all_of(tokens, [=](int32_t token) { return token >= 0 && static_cast<uint32_t>(token) < vocabulary_tokens; });
}

SequenceStatus add(SharedSequence& shared, std::span<const int32_t> tokens) {
  if (!are_tokens(tokens, shared.vocabulary_tokens)) return SequenceStatus::invalid_argument;
  if (shared.ended != SequenceStatus::ok) return shared.ended;
  if (tokens.size() > shared.tokens_max - shared.length()) return SequenceStatus::context_full;
  begin_change(shared);
  shared.tokens.insert(shared.tokens.end(), tokens.begin(), tokens.end());
  forget_old_limits(shared);
  return SequenceStatus::ok;
}

// Makes `position` the end, as a program that takes tokens back wants it.
void take_back(SharedSequence& shared, uint32_t position) {
  begin_change(shared);
  shared.stats.generated_tokens -= std::min(shared.length() - position, shared.stats.generated_tokens);
  cut(shared, position);
}

// Asks the scheduler for tokens when none are there. Ok: on_ready will be called.
SequenceStatus ask(const std::shared_ptr<SharedSequence>& sequence) {
  SharedSequence& shared = *sequence;
  if (shared.ended != SequenceStatus::ok) return shared.ended;
  if (shared.full || shared.length() >= shared.tokens_max) return SequenceStatus::context_full;
  shared.owner_waits = true;
  if (!shared.wants || shared.stopped) {
    shared.wants = true;
    shared.stopped = false;
    notify_scheduler(sequence);
  }
  return shared.ended;
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
  return shared_->length();
}

SequenceStatus Sequence::append(std::span<const int32_t> tokens) {
  std::lock_guard lock(shared_->mutex);
  const SequenceStatus status = add(*shared_, tokens);
  if (status != SequenceStatus::ok) return status;
  if (!tokens.empty()) shared_->prompt_added = true;
  if (shared_->options.embeds && !tokens.empty()) {
    shared_->wants = true;
    notify_scheduler(shared_);
  }
  shared_->stats.prompt_tokens += static_cast<uint32_t>(tokens.size());
  return SequenceStatus::ok;
}

SequenceStatus Sequence::push(std::span<const int32_t> tokens) {
  std::lock_guard lock(shared_->mutex);
  if (shared_->length() == 0) return SequenceStatus::invalid_argument;
  const SequenceStatus status = add(*shared_, tokens);
  if (status != SequenceStatus::ok) return status;
  shared_->stats.generated_tokens += static_cast<uint32_t>(tokens.size());
  return SequenceStatus::ok;
}

SequenceStatus Sequence::truncate(uint32_t length) {
  std::lock_guard lock(shared_->mutex);
  if (shared_->ended != SequenceStatus::ok) return shared_->ended;
  if (length > shared_->length()) return SequenceStatus::invalid_argument;
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
  if (!are_tokens(banned, shared_->vocabulary_tokens)) return SequenceStatus::invalid_argument;
  std::lock_guard lock(shared_->mutex);
  if (shared_->ended != SequenceStatus::ok) return shared_->ended;
  if (position > shared_->length() || position == 0) return SequenceStatus::invalid_argument;
  const bool adds_up = position == shared_->banned_position && !banned.empty();
  if ((adds_up ? shared_->banned.size() : 0) + banned.size() > banned_tokens_max) return SequenceStatus::limit;
  take_back(*shared_, position);
  if (!adds_up) shared_->banned.clear();
  shared_->banned_position = position;
  shared_->banned.insert(shared_->banned.end(), banned.begin(), banned.end());
  return SequenceStatus::ok;
}

SequenceStatus Sequence::mask(uint32_t position, std::span<const uint64_t> allowed) {
  if (allowed.size() != (shared_->vocabulary_tokens + 63) / 64) return SequenceStatus::invalid_argument;
  auto mask = std::make_shared<const TokenMask>(allowed.begin(), allowed.end());
  std::lock_guard lock(shared_->mutex);
  SharedSequence& shared = *shared_;
  if (shared.ended != SequenceStatus::ok) return shared.ended;
  if (position > shared.length() || position == 0) return SequenceStatus::invalid_argument;
  const bool drawn = position < shared.length() || !shared.mailbox.empty();
  const bool stands = position == shared.length() && (!drawn || is_allowed(allowed, shared.mailbox.front()));
  if (!stands) take_back(shared, position);
  shared.mask = std::move(mask);
  shared.mask_position = position;
  return SequenceStatus::ok;
}

SequenceStatus Sequence::guess(std::span<const int32_t> tokens) {
  if (tokens.size() > guesses_max) return SequenceStatus::limit;
  if (!are_tokens(tokens, shared_->vocabulary_tokens)) return SequenceStatus::invalid_argument;
  std::lock_guard lock(shared_->mutex);
  if (shared_->ended != SequenceStatus::ok) return shared_->ended;
  shared_->guesses.assign(tokens.begin(), tokens.end());
  shared_->guess_position = shared_->length();
  return SequenceStatus::ok;
}

Sequence::Next Sequence::next(std::span<int32_t> out) {
  if (out.empty() || shared_->options.embeds) return {SequenceStatus::invalid_argument, 0};
  std::lock_guard lock(shared_->mutex);
  SharedSequence& shared = *shared_;
  if (shared.length() == 0) return {SequenceStatus::invalid_argument, 0};
  if (!shared.mailbox.empty()) {
    const auto count = shared.plan.keep_rows ? 1 : std::min(out.size(), shared.mailbox.size());
    shared.rows.drop_before(shared.length());
    std::copy_n(shared.mailbox.begin(), count, out.begin());
    shared.mailbox.erase(shared.mailbox.begin(), shared.mailbox.begin() + static_cast<ptrdiff_t>(count));
    shared.tokens.insert(shared.tokens.end(), out.begin(), out.begin() + static_cast<ptrdiff_t>(count));
    shared.keep = shared.length();
    forget_old_limits(shared);
    shared.stats.generated_tokens += static_cast<uint32_t>(count);
    if (shared.paused) {
      shared.paused = false;
      notify_scheduler(shared_);
    }
    return {SequenceStatus::ok, static_cast<uint32_t>(count)};
  }
  return {ask(shared_), 0};
}

bool Sequence::is_ready() {
  std::lock_guard lock(shared_->mutex);
  return shared_->options.embeds || shared_->length() == 0 || !shared_->mailbox.empty() || ask(shared_) != SequenceStatus::ok;
}

Sequence::Next Sequence::embed(std::span<float> out) {
  std::lock_guard lock(shared_->mutex);
  SharedSequence& shared = *shared_;
  if (!shared.options.embeds || shared.length() == 0) return {SequenceStatus::invalid_argument, 0};
  if (shared.embedding.empty()) {
    if (shared.ended != SequenceStatus::ok) return {shared.ended, 0};
    shared.owner_waits = true;
    if (!std::exchange(shared.wants, true)) notify_scheduler(shared_);
    return {shared.ended, 0};
  }
  if (out.size() >= shared.embedding.size()) std::copy(shared.embedding.begin(), shared.embedding.end(), out.begin());
  return {SequenceStatus::ok, static_cast<uint32_t>(shared.embedding.size())};
}

std::shared_ptr<const KeptRow> Sequence::row(uint32_t position) const {
  std::lock_guard lock(shared_->mutex);
  return position < shared_->length() ? shared_->rows.find(position) : nullptr;
}

std::vector<TokenLogprob> Sequence::candidates(uint32_t position, uint32_t count) const {
  const auto row = this->row(position);
  if (!row) return {};
  return likeliest(row->logits(), std::min(count, candidates_max));
}

bool Sequence::logprobs(uint32_t position, std::span<const int32_t> tokens, std::span<float> logprobs) const {
  const auto row = this->row(position);
  if (!row || !are_tokens(tokens, shared_->vocabulary_tokens)) return false;
  const double mass = log_mass(row->logits());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const float logit = row->logits()[static_cast<size_t>(tokens[i])];
    logprobs[i] = std::isfinite(mass) && !std::isnan(logit) ? static_cast<float>(logit - mass) : -INFINITY;
  }
  return true;
}

uint32_t Sequence::logits(uint32_t position, std::span<float> out) const {
  const auto row = this->row(position);
  if (!row) return 0;
  const auto logits = row->logits();
  if (out.size() >= logits.size()) std::ranges::copy(logits, out.begin());
  return static_cast<uint32_t>(logits.size());
}

SequenceStats Sequence::stats() const {
  std::lock_guard lock(shared_->mutex);
  SequenceStats stats = shared_->stats;
  stats.tokens = shared_->length();
  return stats;
}

}  // namespace realm::engine
