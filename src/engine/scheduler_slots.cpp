// Who is in the batch: admission, the dense range of slots, parking, prefixes.
#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "engine/scheduler_state.h"

namespace realm::engine {
namespace {

constexpr int64_t admission_ns_max = 2'000'000;  // between two steps of those that generate

}  // namespace

bool goes_first(const ScheduledSequence* a, const ScheduledSequence* b) {
  if (a->flow != b->flow && a->flow->claim() != b->flow->claim()) return a->flow->claim() < b->flow->claim();
  const auto priority_a = a->shared->options.priority;
  const auto priority_b = b->shared->options.priority;
  if (a->flow == b->flow && priority_a != priority_b) return priority_a > priority_b;
  return a->arrival < b->arrival;
}

void Scheduler::Impl::update_queue(ScheduledSequence& sequence) {
  const bool runnable = sequence.runnable();
  if (runnable != sequence.busy) {
    sequence.busy = runnable;
    runnable ? flows.begin_busy(*sequence.flow) : flows.end_busy(*sequence.flow);
  }
  const bool waits = runnable && sequence.slot == no_slot;
  if (waits == sequence.waiting) return;
  sequence.waiting = waits;
  if (waits) {
    sequence.waiting_since_ns = monotonic_ns();
    waiting.push_back(&sequence);
  } else {
    std::erase(waiting, &sequence);
  }
}

void Scheduler::Impl::expire_waiting() {
  const int64_t now = monotonic_ns();
  for (size_t i = waiting.size(); i-- > 0;) {
    ScheduledSequence& sequence = *waiting[i];
    const int64_t waited_ms = (now - sequence.waiting_since_ns) / 1'000'000;
    if (waited_ms > sequence.shared->options.queue_deadline_ms) end(sequence, SequenceStatus::deadline_exceeded);
  }
}

// Of an over-served flow one prompt is computed at a time: each in the batch takes at least a token of every step from the others.
bool Scheduler::Impl::must_wait(const ScheduledSequence& sequence) const {
  if (sequence.embeds() && !has_embedding_stream(sequence)) return true;
  if (waits_for_relative(sequence)) return true;
  if (sequence.pending() <= 1) return false;
  if (!flows.is_over_served(*sequence.flow)) return prompts_fill_steps_before(sequence);
  return std::any_of(slots.begin(), slots.end(), [&](const ScheduledSequence* active) {
    return active != nullptr && active->flow == sequence.flow && active->prefills();
  });
}

// Whether the prompts in the batch that go before this one leave nothing of a step to it: in the batch it would take a token of each from
// those.
bool Scheduler::Impl::prompts_fill_steps_before(const ScheduledSequence& sequence) const {
  if (sequence.embeds()) return false;
  uint32_t generating = 0;
  uint64_t before = 0;
  for (const ScheduledSequence* one : slots) {
    if (one == nullptr) continue;
    generating += one->generates() ? 1 : 0;
    if (!one->prefills() || flows.is_over_served(*one->flow)) continue;
    const bool first =
        one->flow == sequence.flow ? goes_first(one, &sequence) : prefill_turn(one->flow->counter) <= prefill_turn(sequence.flow->counter);
    if (first) before += one->pending();
  }
  return before >= step_cost.prefill_budget(generating, inter_token_target_ns(), options.prefill_tokens_max);
}

bool Scheduler::Impl::somebody_generates() const {
  return std::any_of(slots.begin(), slots.end(), [](const auto* one) { return one != nullptr && one->generates(); });
}

// Copies and restored states take time, which those that generate do not have: the rest is admitted after the next step.
void Scheduler::Impl::admit_waiting() {
  const int64_t until_ns = monotonic_ns() + admission_ns_max;
  while (true) {
    if (monotonic_ns() > until_ns && somebody_generates()) return;
    ScheduledSequence* first = nullptr;
    for (ScheduledSequence* candidate : waiting) {
      if ((first == nullptr || goes_first(candidate, first)) && !must_wait(*candidate)) first = candidate;
    }
    if (first == nullptr) return;
    if (first->shared->tokens_max > kv_tokens_capacity) {
      end(*first, SequenceStatus::limit);
    } else if (!admit(*first)) {
      return;  // whoever comes next waits too: a large request must not starve behind small ones
    }
  }
}

// Whoever in the batch can best give its place to one of `flow`: of another flow that is over-served, but not the flow's oldest, which
// goes on. Prompts before generating sequences, then the latest. Null: nobody. What they hold is copied, so nobody leaves before the place
// is needed.
ScheduledSequence* Scheduler::Impl::first_to_leave(const Flow& flow) const {
  const auto leaves_before = [](const ScheduledSequence* a, const ScheduledSequence* b) {
    return a->prefills() != b->prefills() ? a->prefills() : a->arrival > b->arrival;
  };
  ScheduledSequence* first = nullptr;
  for (ScheduledSequence* one : slots) {
    if (one == nullptr || one->flow == &flow || !one->runnable() || !flows.is_over_served(*one->flow)) continue;
    const bool oldest = std::none_of(slots.begin(), slots.end(), [one](const ScheduledSequence* other) {
      return other != nullptr && other->flow == one->flow && other->prefills() == one->prefills() && other->arrival < one->arrival;
    });
    if (!oldest && (first == nullptr || leaves_before(one, first))) first = one;
  }
  return first;
}

// Of the batch, whose slots are dense.
void Scheduler::Impl::give_up_place(ScheduledSequence& sequence) {
  const uint32_t slot = sequence.slot;
  vacate(sequence, true);
  if (slot + 1 < slots.size()) move_down(static_cast<uint32_t>(slots.size() - 1), slot);
  slots.pop_back();
}

bool Scheduler::Impl::admit(ScheduledSequence& sequence) {
  if (sequence.embeds()) return admit_embedding(sequence);
  const uint32_t need = sequence.shared->tokens_max;
  const auto fits = [&] { return slots.size() < options.sequences_max && reserved_tokens + need <= kv_tokens_capacity; };
  for (size_t slot = slots.size(); slot-- > 0 && !fits();) {
    if (!slots[slot]->runnable()) give_up_place(*slots[slot]);
  }
  while (!fits()) {
    ScheduledSequence* leaving = first_to_leave(*sequence.flow);
    if (leaving == nullptr) return false;
    give_up_place(*leaving);
    update_queue(*leaving);
  }
  sequence.slot = static_cast<uint32_t>(slots.size());
  slots.push_back(&sequence);
  sequence.reserved_tokens = need;
  reserved_tokens += need;
  ++sequence.flow->active_sequences;
  slot_used_ns[sequence.slot] = 0;
  const int64_t now = monotonic_ns();
  if (sequence.admitted_ns == 0) sequence.admitted_ns = now;
  const int64_t queued_ns = now - sequence.waiting_since_ns;
  update_queue(sequence);
  load_kv(sequence);
  std::lock_guard lock(sequence.shared->mutex);
  sequence.shared->stats.queue_ns += static_cast<uint64_t>(queued_ns);
  return true;
}

void Scheduler::Impl::load_kv(ScheduledSequence& sequence) {
  if (copy_from_relative(sequence)) return;
  if (sequence.saved) {
    const uint32_t kept = sequence.kv_tokens;
    sequence.kv_tokens = kv->restore(sequence.slot, sequence.saved.bytes()) ? sequence.saved_tokens : 0;
    sequence.saved = {};
    return roll_back_kv(sequence, kept);
  }
  if (sequence.kv_tokens > 0 || !sequence.shared->options.keep_prefix || sequence.tokens.empty()) return;
  // The last token is always computed: its logits are what the owner is waiting for.
  const std::span<const int32_t> all_but_last(sequence.tokens.data(), sequence.tokens.size() - 1);
  const auto match = prefixes.find(sequence.flow->id, all_but_last);
  if (match.tokens == 0 || !kv->restore(sequence.slot, match.state)) return;
  sequence.kv_tokens = match.saved_tokens;
  roll_back_kv(sequence, match.tokens);
  stats.prefix_hit_tokens += sequence.kv_tokens;
  std::lock_guard lock(sequence.shared->mutex);
  sequence.shared->stats.cached_tokens = sequence.kv_tokens;
}

void Scheduler::Impl::roll_back_kv(ScheduledSequence& sequence, uint32_t length) {
  if (sequence.kv_tokens <= length) return;
  if (sequence.embeds()) {
    if (sequence.slot != no_slot) vacate_embedding(sequence);
  } else if (sequence.slot == no_slot) {
    sequence.kv_tokens = length;  // load_kv cuts what was saved
  } else {
    sequence.kv_tokens = kv->truncate(sequence.slot, length) ? length : 0;
  }
}

SavedState Scheduler::Impl::save_evicting_prefixes(uint32_t slot) {
  SavedState state = kv->save(slot, saved_store);
  while (!state && (prefixes.evict_one() || give_up_dormant())) state = kv->save(slot, saved_store);
  return state;
}

void Scheduler::Impl::vacate(ScheduledSequence& sequence, bool keep_kv) {
  if (sequence.embeds()) return vacate_embedding(sequence);
  if (keep_kv && sequence.kv_tokens > 0) {
    sequence.saved = save_evicting_prefixes(sequence.slot);
    sequence.saved_tokens = sequence.kv_tokens;
    ++stats.parks;
  }
  if (!sequence.saved) sequence.kv_tokens = 0;
  kv->clear(sequence.slot);
  slot_used_ns[sequence.slot] = monotonic_ns();
  slots[sequence.slot] = nullptr;
  sequence.slot = no_slot;
  --sequence.flow->active_sequences;
  reserved_tokens -= std::exchange(sequence.reserved_tokens, 0u);
}

void Scheduler::Impl::keep_prefix(ScheduledSequence& sequence) {
  if (sequence.kv_tokens < prefix_tokens_min) return;
  if (sequence.slot != no_slot) {
    sequence.saved = save_evicting_prefixes(sequence.slot);
    sequence.saved_tokens = sequence.kv_tokens;
  }
  if (!sequence.saved || sequence.saved_tokens != sequence.kv_tokens) return;
  sequence.tokens.resize(sequence.kv_tokens);
  const bool kept = prefixes.insert(sequence.flow->id, sequence.tokens, std::move(sequence.saved));
  if (!kept && sequence.flow->id == published_flow) log().warn("a published prefix takes too much of the memory for saved KV");
}

void Scheduler::Impl::make_dense() {
  uint32_t end_of_runnable = static_cast<uint32_t>(slots.size());
  while (end_of_runnable > 0 && (slots[end_of_runnable - 1] == nullptr || !slots[end_of_runnable - 1]->runnable())) --end_of_runnable;
  for (uint32_t slot = 0; slot < end_of_runnable; ++slot) {
    ScheduledSequence* sequence = slots[slot];
    if (sequence == nullptr || sequence->runnable()) continue;
    // At its end and without use for its KV afterwards: most likely the owner is about to close it.
    vacate(*sequence, !sequence->at_end || sequence->shared->options.keep_prefix || sequence->family != 0);
  }
  for (uint32_t slot = 0; slot < slots.size(); ++slot) {
    if (slots[slot] != nullptr) continue;
    while (!slots.empty() && (slots.back() == nullptr || !slots.back()->runnable())) {
      if (slots.back() != nullptr) vacate(*slots.back(), true);
      slots.pop_back();
    }
    if (slot >= slots.size()) break;
    move_down(static_cast<uint32_t>(slots.size() - 1), slot);
    slots.pop_back();
  }
}

void Scheduler::Impl::swap_slots(uint32_t a, uint32_t b) {
  SavedState states[2];
  for (const uint32_t slot : {a, b}) {
    if (slots[slot]->kv_tokens > 0) states[slot == b] = kv->save(slot, move_store);
    kv->clear(slot);
  }
  std::swap(slots[a], slots[b]);
  for (const uint32_t slot : {a, b}) {
    ScheduledSequence& sequence = *slots[slot];
    sequence.slot = slot;
    const SavedState& state = states[slot == a];  // it came from the other one
    if (sequence.kv_tokens > 0 && (!state || !kv->restore(slot, state.bytes()))) sequence.kv_tokens = 0;
  }
  stats.slot_moves += 2;
}

void Scheduler::Impl::move_down(uint32_t from, uint32_t to) {
  ScheduledSequence& sequence = *slots[from];
  if (sequence.kv_tokens > 0) {
    const SavedState state = kv->save(from, move_store);
    if (!state || !kv->restore(to, state.bytes())) sequence.kv_tokens = 0;
    kv->clear(from);
  }
  ++stats.slot_moves;
  slot_used_ns[from] = monotonic_ns();
  slot_used_ns[to] = 0;
  slots[to] = &sequence;
  slots[from] = nullptr;
  sequence.slot = to;
}

}  // namespace realm::engine
