// One step: a token of every generating sequence and slices of prompts in one decode call, then a draw for each finished row.
#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "engine/scheduler_state.h"

namespace realm::engine {
namespace {

constexpr uint32_t pause_slice_tokens = 8;  // of a prompt that computes while a less served flow pauses
constexpr double over_served_share = 0.75;  // of the time that is due to it; the rest is what a step costs beyond its tokens

}  // namespace

bool Scheduler::Impl::step() {
  const int64_t began_ns = monotonic_ns();
  build_batch();
  if (rows.empty() && embedding_rows.empty()) return false;
  uint32_t decode_tokens = 0;
  uint32_t prefill_tokens = 0;
  {
    const auto turn = pool->acquire();
    const int64_t turn_ns = monotonic_ns();
    if (auto embedded = compute_embeddings()) prefill_tokens = *embedded;
    if (!rows.empty()) {
      if (auto decoded = kv->decode(); !decoded) {
        fail_batch(decoded.error());
        return true;
      }
    }
    const int64_t computed_ns = monotonic_ns();
    stats.compute_ns += static_cast<uint64_t>(computed_ns - turn_ns);
    sample_rows();
    stats.sample_ns += static_cast<uint64_t>(monotonic_ns() - computed_ns);
  }
  for (Row& row : rows) {
    ScheduledSequence& sequence = *row.sequence;
    const bool generating = row.tokens == 1 && sequence.kv_tokens >= sequence.generation_start;
    sequence.kv_tokens += row.tokens;
    generating ? ++decode_tokens : prefill_tokens += row.tokens;
    if (!generating) sequence.flow->charge_input(row.tokens);
    if (row.drawn < 0) continue;
    sequence.flow->charge_output(1);
    accept(sequence, row.drawn, row.kept);
  }
  const int64_t ended_ns = monotonic_ns();
  step_cost.observe(decode_tokens, prefill_tokens, ended_ns - began_ns);
  ++stats.steps;
  stats.decode_tokens += decode_tokens;
  stats.prefill_tokens += prefill_tokens;
  stats.step_ns += static_cast<uint64_t>(ended_ns - began_ns);
  return true;
}

void Scheduler::Impl::build_batch() {
  rows.clear();
  prefill.clear();
  kv->begin_batch();
  uint32_t generating = 0;
  for (ScheduledSequence* sequence : slots) {
    if (!sequence->runnable()) continue;
    // Logits of the last token are needed anew, after a rejection or a change of the sampler.
    if (sequence->pending() == 0) roll_back_kv(*sequence, sequence->kv_tokens - 1);
    if (sequence->pending() == 1) {
      ++generating;
    } else {
      prefill.push_back({.remaining = sequence->pending(),
                         .flow_counter = sequence->flow->counter,
                         .priority = static_cast<uint8_t>(sequence->shared->options.priority),
                         .arrival = sequence->arrival,
                         .flow = sequence->flow->id,
                         .over_served = flows.is_over_served(*sequence->flow)});
    }
  }
  const size_t prompts = prefill.size();
  plan_embeddings();
  plan_prefill(prefill, prefill_budget(generating));
  auto next_slice = prefill.begin();
  for (ScheduledSequence* sequence : slots) {
    if (!sequence->runnable()) continue;
    const uint32_t count = sequence->pending() == 1 ? 1 : (next_slice++)->slice;
    const bool last = count == sequence->pending();
    const std::span<const int32_t> tokens(sequence->tokens.data() + sequence->kv_tokens, count);
    const int32_t index = kv->add(sequence->slot, sequence->kv_tokens, tokens, last);
    rows.push_back({sequence, count, last ? index : -1, -1, nullptr});
  }
  add_embedding_slices(std::span(prefill).subspan(prompts));
}

// Usually what keeps the step within the inter-token target. When only over-served flows have prompts, what gives them their share of
// the time beside the flows that are generating.
uint32_t Scheduler::Impl::prefill_budget(uint32_t generating) const {
  const bool all_over_served =
      !prefill.empty() && std::all_of(prefill.begin(), prefill.end(), [](const auto& one) { return one.over_served; });
  // Nobody else generates, but somebody did a moment ago and will find this step still running.
  if (generating == 0 && all_over_served) return static_cast<uint32_t>(prefill.size()) + pause_slice_tokens;
  if (!all_over_served) {
    return step_cost.prefill_budget(generating, int64_t{options.inter_token_target_ms} * 1'000'000, options.prefill_tokens_max);
  }
  double prefilling_weight = 0;
  double generating_weight = 0;
  std::vector<const Flow*> seen;
  for (const ScheduledSequence* sequence : slots) {
    if (!sequence->runnable() || std::find(seen.begin(), seen.end(), sequence->flow) != seen.end()) continue;
    seen.push_back(sequence->flow);
    (flows.is_over_served(*sequence->flow) ? prefilling_weight : generating_weight) += sequence->flow->weight;
  }
  const double share = generating_weight > 0 ? prefilling_weight / generating_weight : 1;
  return static_cast<uint32_t>(prefill.size()) - 1 + step_cost.shared_budget(over_served_share * share, options.prefill_tokens_max);
}

void Scheduler::Impl::sample_rows() {
  // llama.cpp sorts its outputs when the first row is asked for, so all are fetched before the threads start.
  thread_local std::vector<std::pair<Row*, std::span<const float>>> wanted;
  wanted.clear();
  for (Row& row : rows) {
    if (row.batch_index >= 0) wanted.emplace_back(&row, kv->logits(row.batch_index));
  }
  auto& wanted_rows = wanted;
  pool->run(static_cast<uint32_t>(wanted_rows.size()), [this, &wanted_rows](uint32_t i) {
    auto& [row, logits] = wanted_rows[i];
    row->drawn = draw(*row->sequence, logits);
    if (row->sequence->plan.keep_rows) row->kept = std::make_shared<KeptRow>(logits, inbox->kept_row_bytes());
  });
}

int32_t Scheduler::Impl::draw(const ScheduledSequence& sequence, std::span<const float> logits) const {
  thread_local SamplerScratch scratch;
  std::span<const int32_t> banned;
  if (sequence.banned_position == sequence.tokens.size()) banned = sequence.banned;
  std::shared_ptr<const TokenMask> mask;
  {
    // Read now and not at pick-up: the owner states it while the step that computed these logits was running.
    const SharedSequence& shared = *sequence.shared;
    std::lock_guard lock(sequence.shared->mutex);
    if (shared.mask_position == sequence.tokens.size() && shared.epoch == sequence.epoch) mask = shared.mask;
  }
  if (!mask) return sample(logits, sequence.tokens, banned, sequence.plan.sampler, scratch);
  return sample_allowed(logits, sequence.tokens, banned, *mask, sequence.plan.sampler, scratch);
}

void Scheduler::Impl::draw_anew(ScheduledSequence& sequence, const KeptRow& row) {
  ++stats.redrawn_tokens;
  sequence.flow->charge_output(1);
  accept(sequence, draw(sequence, row.logits()), nullptr);
}

void Scheduler::Impl::accept(ScheduledSequence& sequence, int32_t token, std::shared_ptr<const KeptRow> row) {
  sequence.tokens.push_back(token);
  const int64_t now = monotonic_ns();
  if (sequence.first_token_ns == 0) sequence.first_token_ns = now;
  const auto length = static_cast<uint32_t>(sequence.tokens.size());
  const DecodePlan& plan = sequence.plan;
  const bool at_end = (plan.stop_at_end && model->is_end_of_generation(token)) ||
                      (plan.new_tokens_max > 0 && length - sequence.generation_start >= plan.new_tokens_max);
  SharedSequence& shared = *sequence.shared;
  {
    std::lock_guard lock(shared.mutex);
    if (shared.epoch != sequence.epoch || shared.closed) {
      // The owner has changed its mind meanwhile; the next pick-up rolls back. Nothing more is computed for it until then.
      sequence.halted = true;
    } else {
      shared.mailbox.push_back(token);
      if (row) shared.rows.keep(length - 1, std::move(row));
      shared.stopped = at_end || !options.run_ahead;
      shared.full = length >= shared.tokens_max;
      shared.paused = shared.mailbox.size() >= (plan.keep_rows ? judged_run_ahead_tokens_max : run_ahead_tokens_max);
      sequence.halted = shared.stopped || shared.full || shared.paused;
      sequence.at_end = at_end || shared.full;
      shared.stats.prefill_ns = static_cast<uint64_t>(sequence.first_token_ns - sequence.admitted_ns);
      shared.stats.decode_ns = static_cast<uint64_t>(now - sequence.first_token_ns);
      if (std::exchange(shared.owner_waits, false) && shared.options.on_ready) shared.options.on_ready();
    }
  }
  if (sequence.halted) update_queue(sequence);
}

void Scheduler::Impl::fail_batch(const Error& error) {
  log().error("{}: {}; {} sequences end", model->info().name, error.message, rows.size());
  for (const Row& row : rows) end(*row.sequence, SequenceStatus::unavailable);
  make_dense();
}

}  // namespace realm::engine
