// Sequences that begin with the same tokens: forks, the sequences they were forked from, and forks of those. A family shares what was
// computed: who needs KV that a relative has gets a copy of it, and who is about to drop KV that a relative has no copy of leaves it one.
#include <algorithm>
#include <utility>

#include "engine/scheduler_state.h"

namespace realm::engine {
namespace {

uint32_t common_tokens(const ScheduledSequence& a, const ScheduledSequence& b) {
  const auto length = static_cast<ptrdiff_t>(std::min(a.tokens.size(), b.tokens.size()));
  return static_cast<uint32_t>(std::mismatch(a.tokens.begin(), a.tokens.begin() + length, b.tokens.begin()).first - a.tokens.begin());
}

// KV that is of use to `sequence`: all that it shares but its last token, whose logits its owner waits for.
uint32_t useful_tokens(const ScheduledSequence& sequence, const ScheduledSequence& relative) {
  const auto all_but_last = static_cast<uint32_t>(sequence.tokens.size() - 1);
  return std::min(common_tokens(sequence, relative), all_but_last);
}

}  // namespace

Result<std::unique_ptr<Sequence>> Scheduler::fork(const Sequence& sequence, uint32_t length, SequenceOptions options) {
  const SequenceOptions& known = sequence.shared_->options;  // on_ready apart, they are fixed at opening
  if (options.embeds || known.embeds) return fail(ErrorCode::invalid_argument, "a sequence that embeds cannot be forked");
  if (options.flow != known.flow) return fail(ErrorCode::invalid_argument, "a fork belongs to the flow that it is forked from");
  auto opened = open(std::move(options));
  if (!opened) return opened;
  SharedSequence& parent = *sequence.shared_;
  SharedSequence& child = *(*opened)->shared_;
  std::lock_guard lock(parent.mutex);
  if (length > parent.length()) return fail(ErrorCode::invalid_argument, "a fork cannot be longer than what it is forked from");
  if (length > child.tokens_max) return fail(ErrorCode::context_exceeded, "tokens_max: the fork begins with more tokens");
  if (parent.ended != SequenceStatus::ok) return fail(ErrorCode::unavailable, "the sequence has ended");
  if (parent.family == 0) parent.family = impl_->last_family.fetch_add(1, std::memory_order_relaxed) + 1;
  child.family = parent.family;
  child.tokens.assign(parent.tokens.begin(), parent.tokens.begin() + length);
  child.prompt_added = length > 0;
  child.plan = parent.plan;
  child.plan_changed = true;
  child.epoch = 1;
  child.in_inbox = true;
  parent.forks.push_back((*opened)->shared_);
  notify_scheduler(sequence.shared_);
  if (parent.ended == SequenceStatus::ok) return opened;
  parent.forks.pop_back();
  child.in_inbox = false;
  return fail(ErrorCode::unavailable, "the model is being unloaded");
}

void Scheduler::Impl::join_family(ScheduledSequence& sequence, uint64_t family) {
  sequence.family = family;
  families[family].push_back(&sequence);
}

void Scheduler::Impl::leave_family(ScheduledSequence& sequence) {
  const auto family = families.find(sequence.family);
  if (family == families.end()) return;
  std::erase(family->second, &sequence);
  if (family->second.empty()) families.erase(family);
}

// True while a relative computes what both need: one prefill serves all.
bool Scheduler::Impl::waits_for_relative(const ScheduledSequence& sequence) const {
  const auto family = families.find(sequence.family);
  if (family == families.end()) return false;
  return std::ranges::any_of(family->second, [&sequence](const ScheduledSequence* relative) {
    if (relative == &sequence || relative->slot == no_slot || !relative->prefills()) return false;
    return useful_tokens(sequence, *relative) > std::max(relative->kv_tokens, sequence.kv_tokens);
  });
}

// Into the slot that `sequence` has just got. False when no relative has more KV of its tokens than it has itself.
bool Scheduler::Impl::copy_from_relative(ScheduledSequence& sequence) {
  const auto family = families.find(sequence.family);
  if (family == families.end() || sequence.tokens.empty()) return false;
  ScheduledSequence* best = nullptr;
  uint32_t best_tokens = sequence.kv_tokens;
  for (ScheduledSequence* relative : family->second) {
    if (relative == &sequence || relative->kv_tokens <= best_tokens) continue;
    const uint32_t tokens = std::min(useful_tokens(sequence, *relative), relative->kv_tokens);
    if (tokens <= best_tokens) continue;
    best = relative;
    best_tokens = tokens;
  }
  if (best == nullptr) return false;
  const SavedState copied = best->saved ? SavedState() : kv->save(best->slot, move_store);
  const SavedState& state = best->saved ? best->saved : copied;
  if (!state || !kv->restore(sequence.slot, state.bytes())) return false;
  sequence.saved = {};
  sequence.kv_tokens = best->saved ? best->saved_tokens : best->kv_tokens;
  roll_back_kv(sequence, best_tokens);
  best->used = ++copies;
  stats.forked_tokens += sequence.kv_tokens;
  return true;
}

// Before `sequence` drops its KV from `length` on: a relative that has no KV of its own gets what it can use, when nobody else has it.
void Scheduler::Impl::hand_over_kv(ScheduledSequence& sequence, uint32_t length) {
  const auto family = families.find(sequence.family);
  if (family == families.end() || sequence.kv_tokens <= length) return;
  // Who shares most: the others of the family find their part of it there.
  ScheduledSequence* heir = nullptr;
  uint32_t heir_tokens = length;
  for (ScheduledSequence* relative : family->second) {
    if (relative == &sequence || relative->slot != no_slot || relative->tokens.size() <= heir_tokens) continue;
    const uint32_t tokens = std::min(common_tokens(sequence, *relative), sequence.kv_tokens);
    if (tokens <= std::max(heir_tokens, relative->kv_tokens)) continue;
    heir = relative;
    heir_tokens = tokens;
  }
  if (heir == nullptr) return;
  const bool others_have_it = std::ranges::any_of(family->second, [&](const ScheduledSequence* other) {
    return other != &sequence && other->kv_tokens >= heir_tokens && common_tokens(*other, *heir) >= heir_tokens;
  });
  if (others_have_it) return;
  SavedState state = save_for_relative(sequence, heir_tokens);
  if (!state) return;
  heir->saved = std::move(state);
  heir->saved_tokens = sequence.slot == no_slot ? sequence.saved_tokens : sequence.kv_tokens;
  heir->kv_tokens = heir_tokens;
  heir->used = ++copies;
}

// A copy of the saved KV of a parked sequence, else of its slot, which is cut to `tokens` first.
SavedState Scheduler::Impl::save_for_relative(ScheduledSequence& sequence, uint32_t tokens) {
  if (sequence.slot != no_slot) {
    if (tokens < sequence.kv_tokens && !model->info().can_roll_back) return {};
    roll_back_kv(sequence, tokens);
    return sequence.kv_tokens == tokens ? save_evicting_prefixes(sequence.slot) : SavedState();
  }
  if (!sequence.saved) return {};
  SavedState state = saved_store.allocate(sequence.saved.bytes().size());
  while (!state && prefixes.evict_one()) state = saved_store.allocate(sequence.saved.bytes().size());
  if (state) std::ranges::copy(sequence.saved.bytes(), state.bytes().begin());
  return state;
}

// Drops the saved KV of a dormant sequence, whose tokens stay: that of the flow which holds most of it, used longest ago.
bool Scheduler::Impl::give_up_dormant() {
  std::unordered_map<const Flow*, uint64_t> bytes;
  std::vector<ScheduledSequence*> holders;
  for (const auto& [family, members] : families) {
    for (ScheduledSequence* member : members) {
      if (!member->saved || !member->shared->options.dormant) continue;
      bytes[member->flow] += member->saved.bytes().size();
      holders.push_back(member);
    }
  }
  if (holders.empty()) return false;
  const auto goes_first = [&bytes](const ScheduledSequence* a, const ScheduledSequence* b) {
    return a->flow != b->flow ? bytes[a->flow] > bytes[b->flow] : a->used < b->used;
  };
  ScheduledSequence& given_up = **std::ranges::min_element(holders, goes_first);
  given_up.saved = {};
  given_up.kv_tokens = given_up.saved_tokens = 0;
  return true;
}

}  // namespace realm::engine
