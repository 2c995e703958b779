// One step: a token of every generating sequence and slices of prompts in one decode call, then a draw for each finished row.
#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "engine/scheduler_state.h"

namespace realm::engine {
namespace {

constexpr double output_token_weight = 2;  // of a step's time, against an input token: VTC

}  // namespace

bool Scheduler::Impl::step() {
  const int64_t began_ns = monotonic_ns();
  build_batch();
  if (rows.empty() && embedding_rows.empty()) return false;
  uint32_t embedded_tokens = 0;
  int64_t embedding_ns = 0;
  int64_t computed_ns = 0;
  {
    const auto turn = pool->acquire();
    const int64_t turn_ns = monotonic_ns();
    if (auto embedded = compute_embeddings()) embedded_tokens = *embedded;
    embedding_ns = monotonic_ns() - turn_ns;
    if (!rows.empty()) {
      interruptible = flow_to_interrupt();
      auto decoded = kv->decode();
      interruptible = nullptr;
      if (!decoded) {
        fail_batch(decoded.error());
        return true;
      }
      if (!*decoded) {
        undo_rows();
        return true;
      }
    }
    computed_ns = monotonic_ns() - turn_ns;
    stats.compute_ns += static_cast<uint64_t>(computed_ns);
    sample_rows();
    stats.sample_ns += static_cast<uint64_t>(monotonic_ns() - turn_ns - computed_ns);
  }
  const int64_t step_ns = monotonic_ns() - began_ns;
  take_rows(step_ns - embedding_ns);
  uint32_t decode_tokens = 0;
  uint32_t prefill_tokens = embedded_tokens;
  bool guessed = false;
  for (const Row& row : rows) {
    (row.generating ? decode_tokens : prefill_tokens) += row.tokens;
    guessed = guessed || row.guesses > 0;
  }
  if (!guessed) {
    aside_step ? step_cost.observe_aside(decode_tokens, prefill_tokens, step_ns)
               : step_cost.observe(decode_tokens, prefill_tokens, step_ns);
  }
  settle_turn(step_ns);
  ++stats.steps;
  stats.decode_tokens += decode_tokens;
  stats.prefill_tokens += prefill_tokens;
  stats.step_ns += static_cast<uint64_t>(step_ns);
  stats.away_ns += static_cast<uint64_t>(pool->give_way(computed_ns));
  return true;
}

// Charges the rows' flows for the time and hands the drawn tokens out.
void Scheduler::Impl::take_rows(int64_t ns) {
  const auto weight_of = [](const Row& row) { return row.tokens * (row.generating ? output_token_weight : 1); };
  double weight = 0;
  for (const Row& row : rows) weight += weight_of(row);
  const double service = step_cost.service(ns, weight) / std::max(weight, 1.0);
  for (Row& row : rows) {
    ScheduledSequence& sequence = *row.sequence;
    sequence.flow->charge(service * weight_of(row));
    if (row.guesses > 0) {
      take_guesses(row);
      continue;
    }
    sequence.kv_tokens += row.tokens;
    if (row.drawn < 0) continue;
    while (!accept(sequence, row.drawn, row.kept)) row.drawn = draw(sequence, sequence.tokens, kv->logits(row.batch_index));
  }
}

void Scheduler::Impl::build_batch() {
  rows.clear();
  prefill.clear();
  kv->begin_batch();
  uint32_t generating = 0;
  for (ScheduledSequence* sequence : slots) {
    if (!takes_part(*sequence)) continue;
    // Logits of the last token are needed anew, after a rejection or a change of the sampler.
    if (sequence->pending() == 0) roll_back_kv(*sequence, sequence->kv_tokens - 1);
    if (sequence->pending() == 1) {
      ++generating;
    } else {
      prefill.push_back(prefill_candidate(*sequence));
    }
  }
  const size_t prompts = prefill.size();
  plan_embeddings();
  plan_prefill(prefill, prefill_budget(generating));
  auto next_slice = prefill.begin();
  uint32_t guess_room = this->guess_room();
  for (ScheduledSequence* sequence : slots) {
    if (!takes_part(*sequence)) continue;
    const bool generates = sequence->pending() == 1 && sequence->kv_tokens >= sequence->generation_start;
    const uint32_t count = sequence->pending() == 1 ? 1 : (next_slice++)->slice;
    const bool last = count == sequence->pending();
    const uint32_t guesses = generates ? append_guesses(*sequence, guess_room) : 0;
    guess_room -= guesses;
    const std::span<const int32_t> tokens(sequence->tokens.data() + sequence->kv_tokens, count + guesses);
    const int32_t index = kv->add(sequence->slot, sequence->kv_tokens, tokens, last ? 1 + guesses : 0);
    rows.push_back(
        {.sequence = sequence, .tokens = count + guesses, .generating = generates, .batch_index = last ? index : -1, .guesses = guesses});
  }
  add_embedding_slices(std::span(prefill).subspan(prompts));
}

// What keeps the step within the inter-token target while somebody generates. Of one flow alone it does not depend on any clock, so that
// the same prompt is computed in the same slices.
uint32_t Scheduler::Impl::prefill_budget(uint32_t generating) const {
  if (aside_step) return aside_budget();
  const auto other = [this](const PrefillCandidate& one) { return one.flow != prefill.front().flow; };
  if (generating == 0 && !prefill.empty() && std::none_of(prefill.begin(), prefill.end(), other)) {
    return std::min(options.one_flow_tokens_max, options.prefill_tokens_max);
  }
  // Those who generate aside would wait for a step of prompts alone, which can be seconds.
  const auto generates_aside = [](const ScheduledSequence* one) { return one->aside && one->generates(); };
  if (generating == 0 && std::ranges::any_of(slots, generates_aside)) {
    return step_cost.prefill_budget(1, static_cast<int64_t>(credit_ns_max), options.prefill_tokens_max);
  }
  return step_cost.prefill_budget(generating, inter_token_target_ns(), options.prefill_tokens_max);
}

void Scheduler::Impl::sample_rows() {
  // llama.cpp sorts its outputs when the first row is asked for, so all are fetched before the threads start.
  struct Wanted {
    Row* row;
    size_t first;  // of its logits
  };
  thread_local std::vector<Wanted> wanted;
  thread_local std::vector<std::span<const float>> logits;
  wanted.clear();
  logits.clear();
  for (Row& row : rows) {
    if (row.batch_index < 0) continue;
    wanted.push_back({&row, logits.size()});
    for (uint32_t i = 0; i <= row.guesses; ++i) logits.push_back(kv->logits(row.batch_index - static_cast<int32_t>(row.guesses - i)));
  }
  auto& wanted_rows = wanted;
  auto& wanted_logits = logits;
  pool->run(static_cast<uint32_t>(wanted_rows.size()), [this, &wanted_rows, &wanted_logits](uint32_t i) {
    auto& [row, first] = wanted_rows[i];
    draw(*row, std::span(wanted_logits).subspan(first, 1 + row->guesses));
  });
}

// Draws as many tokens as the guesses are right, and one more.
void Scheduler::Impl::draw(Row& row, std::span<const std::span<const float>> logits) {
  ScheduledSequence& sequence = *row.sequence;
  const std::span<const int32_t> tokens = sequence.tokens;
  for (uint32_t right = 0; right < logits.size(); ++right) {
    const auto history = tokens.first(tokens.size() - row.guesses + right);
    row.guessed_right = right;
    row.drawn = draw(sequence, history, logits[right]);
    if (right < row.guesses && row.drawn != tokens[history.size()]) break;
  }
  if (sequence.plan.keep_rows) row.kept = std::make_shared<KeptRow>(logits[0], inbox->kept_row_bytes());
}

int32_t Scheduler::Impl::draw(ScheduledSequence& sequence, std::span<const int32_t> history, std::span<const float> logits) const {
  thread_local SamplerScratch scratch;
  std::span<const int32_t> banned;
  if (sequence.banned_position == history.size()) banned = sequence.banned;
  std::shared_ptr<const TokenMask>& mask = sequence.drawn_under;
  mask.reset();
  {
    // Read now and not at pick-up: the owner states it while the step that computed these logits was running.
    const SharedSequence& shared = *sequence.shared;
    std::lock_guard lock(sequence.shared->mutex);
    if (shared.mask_position == history.size() && shared.epoch == sequence.epoch) mask = shared.mask;
  }
  if (!mask) return sample(logits, history, banned, sequence.plan.sampler, scratch);
  return sample_allowed(logits, history, banned, *mask, sequence.plan.sampler, scratch);
}

void Scheduler::Impl::draw_anew(ScheduledSequence& sequence, const KeptRow& row) {
  ++stats.redrawn_tokens;
  while (!accept(sequence, draw(sequence, sequence.tokens, row.logits()), nullptr)) {
  }
}

bool Scheduler::Impl::accept(ScheduledSequence& sequence, int32_t token, const std::shared_ptr<const KeptRow>& row) {
  SharedSequence& shared = *sequence.shared;
  std::unique_lock lock(shared.mutex);
  const bool current = shared.epoch == sequence.epoch && !shared.closed;
  // The owner stated what may come here after the draw had looked, and saw no token that it could have taken back.
  const bool stated_late = current && shared.mask != nullptr && shared.mask != sequence.drawn_under &&
                           shared.mask_position == sequence.tokens.size() && !is_allowed(*shared.mask, token);
  if (stated_late) return false;
  sequence.tokens.push_back(token);
  const int64_t now = monotonic_ns();
  if (sequence.first_token_ns == 0) sequence.first_token_ns = now;
  const auto length = static_cast<uint32_t>(sequence.tokens.size());
  const DecodePlan& plan = sequence.plan;
  const bool at_end = (plan.stop_at_end && model->is_end_of_generation(token)) ||
                      (plan.new_tokens_max > 0 && length - sequence.generation_start >= plan.new_tokens_max);
  if (!current) {
    // The owner has changed its mind meanwhile; the next pick-up rolls back. Nothing more is computed for it until then.
    sequence.halted = true;
  } else {
    shared.mailbox.push_back(token);
    if (row) shared.rows.keep(length - 1, row);
    shared.stopped = at_end || !options.run_ahead;
    shared.full = length >= shared.tokens_max;
    shared.paused = shared.mailbox.size() >= (plan.keep_rows ? judged_run_ahead_tokens_max : run_ahead_tokens_max);
    sequence.halted = shared.stopped || shared.full || shared.paused;
    sequence.at_end = at_end || shared.full;
    shared.stats.prefill_ns = static_cast<uint64_t>(sequence.first_token_ns - sequence.admitted_ns);
    shared.stats.decode_ns = static_cast<uint64_t>(now - sequence.first_token_ns);
    if (std::exchange(shared.owner_waits, false) && shared.options.on_ready) shared.options.on_ready();
  }
  lock.unlock();
  if (sequence.halted) update_queue(sequence);
  return true;
}

void Scheduler::Impl::fail_batch(const Error& error) {
  log().error("{}: {}; {} sequences end", model->info().name, error.message, rows.size());
  for (const Row& row : rows) end(*row.sequence, SequenceStatus::unavailable);
  make_dense();
}

}  // namespace realm::engine
