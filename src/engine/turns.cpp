// Whose step it is. Prompts of over-served flows are set aside: they get steps of their own, for the share of the time that is due to
// them, beside those of everybody else. In one step with others they would cost more: llama.cpp computes attention of all its rows over
// the longest of them, and a slice is a second pass over the weights there too. Likewise the generating sequences of a flow that has so
// many that the others would wait for them longer than their share of the time is.
#include <algorithm>
#include <cmath>

#include "base/clock.h"
#include "engine/decode_plan.h"
#include "engine/scheduler_state.h"

namespace realm::engine {
namespace {

constexpr double aside_share = 0.85;         // of the time that is due to them by weight: what others lose by switching is not theirs
constexpr double aside_share_behind = 1.15;  // the same, while generating sequences set aside have had less than the others
constexpr double aside_stall = 2.5;          // steps of the generating sequences that one step aside may take
constexpr int64_t interrupt_pause_ns = pause_ns_max;
constexpr uint32_t interruptible_tokens_min = 32;  // smaller steps are over before anybody minds

double least_counter(const std::vector<Flow*>& flows, bool generates_aside) {
  double least = INFINITY;
  for (const Flow* flow : flows) {
    if (flow->generates_aside == generates_aside) least = std::min(least, flow->counter);
  }
  return least;
}

// Who wants so much is no short request: what it may have before others for having been away, it has not.
void forgo_claims(const std::vector<Flow*>& flows) {
  const double least = least_counter(flows, false) - over_served_service / 4;
  for (Flow* flow : flows) {
    if (flow->generates_aside) flow->counter = std::max(flow->counter, least);
  }
}

}  // namespace

PrefillCandidate Scheduler::Impl::prefill_candidate(const ScheduledSequence& sequence) {
  return {.remaining = sequence.pending(),
          .flow_counter = sequence.flow->counter,
          .priority = static_cast<uint8_t>(sequence.shared->options.priority),
          .arrival = sequence.arrival,
          .flow = sequence.flow->id};
}

void Scheduler::Impl::count_pending() {
  flows.clear_pending();
  const auto count = [](const ScheduledSequence* sequence) {
    if (sequence != nullptr && sequence->busy && sequence->pending() > 1) sequence->flow->pending_tokens += sequence->pending();
  };
  std::for_each(slots.begin(), slots.end(), count);
  std::for_each(waiting.begin(), waiting.end(), count);
  std::for_each(embedding.begin(), embedding.end(), count);
}

void Scheduler::Impl::set_prompts_aside() {
  const auto look_at = [this](ScheduledSequence* one) {
    if (one != nullptr) one->aside = one->has_prompt() && flows.is_over_served(*one->flow);
  };
  std::for_each(slots.begin(), slots.end(), look_at);
  std::for_each(embedding.begin(), embedding.end(), look_at);
}

void Scheduler::Impl::set_generating_aside() {
  decode_flows.clear();
  for (const ScheduledSequence* one : slots) one->flow->decode_sequences = 0;
  for (const ScheduledSequence* one : slots) {
    if (one->runnable() && !one->aside && ++one->flow->decode_sequences == 1) decode_flows.push_back(one->flow);
  }
  // The others may only pause between two requests: then they find those set aside as they left them.
  const bool others_pause = decode_flows.size() == 1 && monotonic_ns() - others_ran_ns < pause_ns_max;
  if (!others_pause) {
    plan_decodes(decode_flows, step_cost.decodes());
    forgo_claims(decode_flows);
  }
  for (ScheduledSequence* one : slots) one->aside = one->aside || (one->generates() && one->flow->generates_aside);
}

void Scheduler::Impl::choose_turn() {
  set_prompts_aside();
  set_generating_aside();
  aside_step = false;
  others_run = false;
  others_generating = 0;
  ScheduledSequence* prompt = nullptr;      // that goes first of those set aside
  ScheduledSequence* generating = nullptr;  // likewise
  bool others_wait = false;                 // for their first token
  const auto look_at = [&](ScheduledSequence* sequence) {
    if (sequence == nullptr) return;
    sequence->in_turn = false;
    const bool has_prompt = sequence->has_prompt();
    if (!sequence->aside) {
      others_run = others_run || sequence->runnable();
      others_wait = others_wait || has_prompt;
      others_generating += sequence->generates() ? 1 : 0;
    } else if (has_prompt) {
      if (prompt == nullptr || goes_first(sequence, prompt)) prompt = sequence;
    } else if (generating == nullptr || waits_longer(*sequence, *generating)) {
      generating = sequence;
    }
  };
  for (ScheduledSequence* sequence : slots) look_at(sequence);
  for (ScheduledSequence* sequence : embedding) look_at(sequence);
  if (others_run) others_ran_ns = monotonic_ns();
  if (prompt == nullptr && generating == nullptr) {
    aside_credit_ns = 0;
    return;
  }
  if (others_run && !is_aside_due(others_wait)) return;
  aside_step = true;
  const bool generates = prompt == nullptr || (generating != nullptr && generates_first(*generating, *prompt));
  if (generates) {
    take_generating_turn(*generating);
  } else {
    prompt->in_turn = true;
  }
  (generates ? generating : prompt)->flow->generated_last = generates;
}

// What is due to those set aside can wait for others' prompts, but not for ever. Then it is spent at once where it holds up no answer,
// only the first token of one: steps of prompts alone may be longer than all that can be due.
bool Scheduler::Impl::is_aside_due(bool others_wait) {
  const double step_ns = aside_step_ns();
  aside_overdue = aside_credit_ns >= credit_ns_max || (aside_overdue && aside_credit_ns >= step_ns);
  const bool waits = others_wait && !(aside_overdue && others_generating == 0);
  return aside_credit_ns >= (waits ? credit_ns_max : step_ns);
}

// Which of two that generate aside.
bool Scheduler::Impl::waits_longer(const ScheduledSequence& a, const ScheduledSequence& b) {
  return a.flow == b.flow ? a.turn < b.turn : goes_first(&a, &b);
}

// Prompts and generating sequences of one flow take turns.
bool Scheduler::Impl::generates_first(const ScheduledSequence& generating, const ScheduledSequence& prompt) {
  return generating.flow == prompt.flow ? !prompt.flow->generated_last : goes_first(&generating, &prompt);
}

// As many as fit into a step aside, in a dense range of slots.
void Scheduler::Impl::take_generating_turn(ScheduledSequence& first) {
  const uint32_t most = step_cost.decodes().sequences_within(aside_step_ns());
  ++turns;
  for (uint32_t slot = first.slot; slot < slots.size() && slot - first.slot < most; ++slot) {
    ScheduledSequence& one = *slots[slot];
    if (!one.aside || !one.generates()) return;
    one.in_turn = true;
    one.turn = turns;
  }
}

// Those set aside must not lie between the others, where they would be gaps in the range of the others' step.
void Scheduler::Impl::order_slots() {
  const auto is_other = [](const ScheduledSequence* one) { return one->runnable() && !one->aside; };
  const auto first = std::find_if(slots.begin(), slots.end(), is_other);
  for (auto gap = first; gap != slots.end(); ++gap) {
    if (!(*gap)->aside) continue;
    const auto last = std::find_if(slots.rbegin(), slots.rend(), is_other).base() - 1;
    if (gap > last) return;
    swap_slots(static_cast<uint32_t>(gap - slots.begin()), static_cast<uint32_t>(last - slots.begin()));
  }
}

// How long a step aside may take. One of few tokens takes nearly as long as one of many, a pass over the weights: so beside others it waits
// until all of this is due. While the others only pause, it may take as long as they have been away: they will find it running when they
// come back, and who comes back soon waits for a short one.
double Scheduler::Impl::aside_step_ns() const {
  const double decode_ns = step_cost.decodes().step_ns(std::max(others_generating, 1u));
  const double most = std::max(static_cast<double>(inter_token_target_ns()) - decode_ns, decode_ns);
  if (!others_run) return std::clamp(static_cast<double>(monotonic_ns() - others_ran_ns), decode_ns, most);
  return std::min(decode_ns * aside_stall, most);
}

uint32_t Scheduler::Impl::aside_budget() const { return step_cost.aside_tokens_within(aside_step_ns(), options.prefill_tokens_max); }

// The rest evens out what estimates are wrong by, so that generating sequences have their share by weight in the long run.
double Scheduler::Impl::share_of_aside() const {
  const double aside = least_counter(decode_flows, true);
  return aside < least_counter(decode_flows, false) ? aside_share_behind : aside_share;
}

// What a step that took `ns` adds to the time that is due to those set aside, or takes from it.
void Scheduler::Impl::settle_turn(int64_t ns) {
  const auto took = static_cast<double>(ns);
  const double most = credit_ns_max;
  if (aside_step) {
    if (others_run) aside_credit_ns = std::max(aside_credit_ns - took, -most);
    return;
  }
  double weight_aside = 0;
  double weight_others = 0;
  std::vector<const Flow*> seen;
  const auto look_at = [&](const ScheduledSequence* sequence, bool aside) {
    if (sequence == nullptr || !sequence->runnable() || sequence->aside != aside) return;
    if (std::find(seen.begin(), seen.end(), sequence->flow) != seen.end()) return;
    seen.push_back(sequence->flow);
    (aside ? weight_aside : weight_others) += sequence->flow->weight;
  };
  for (const bool aside : {true, false}) {
    for (const ScheduledSequence* sequence : slots) look_at(sequence, aside);
    for (const ScheduledSequence* sequence : embedding) look_at(sequence, aside);
    if (aside && weight_aside == 0) return;
  }
  const double share = weight_others > 0 ? share_of_aside() * weight_aside / weight_others : 1;
  aside_credit_ns = std::min(aside_credit_ns + took * share, most);
}

// A long step of one flow's prompts ends when somebody comes who has had less: what it computed is lost, so at most once in a while.
// Asked by the backend between two operations, on the scheduler's thread.
bool Scheduler::Impl::must_interrupt() {
  if (interruptible == nullptr) return false;
  if (!inbox->any_asks([this](FlowId id, uint32_t tokens) { return flows.would_be_over_served(*interruptible, id, tokens); })) return false;
  const int64_t now = monotonic_ns();
  if (now - interrupted_ns < interrupt_pause_ns) return false;
  interrupted_ns = now;
  return true;
}

// The flow of all rows when there are many and nobody generates.
const Flow* Scheduler::Impl::flow_to_interrupt() const {
  if (rows.empty() || !embedding_rows.empty()) return nullptr;
  uint32_t tokens = 0;
  for (const Row& row : rows) {
    if (row.generating || row.sequence->flow != rows.front().sequence->flow) return nullptr;
    tokens += row.tokens;
  }
  return tokens >= interruptible_tokens_min ? rows.front().sequence->flow : nullptr;
}

// After an interruption: the streams hold what they held before the step, as far as the model can roll back.
void Scheduler::Impl::undo_rows() {
  ++stats.interrupted_steps;
  for (const Row& row : rows) {
    if (!kv->truncate(row.sequence->slot, row.sequence->kv_tokens)) row.sequence->kv_tokens = 0;
  }
}

}  // namespace realm::engine
