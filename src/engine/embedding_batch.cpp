// Sequences whose owner wants one vector for the whole text. They have a context of their own, made with the first of them, but go
// through the same admission, and their tokens are prompt tokens of the same plan: an embedding costs its realm what a prompt costs.
#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "engine/scheduler_state.h"

namespace realm::engine {
namespace {

constexpr uint32_t embedding_streams = 16;            // sequences at once
constexpr uint32_t embedding_batch_tokens_max = 128;  // llama.cpp keeps a row of logits for each: 100 KB to 1 MB

}  // namespace

// The one of an over-served flow that gives its stream up for `sequence`; what was computed of it is lost.
ScheduledSequence* Scheduler::Impl::embedding_to_evict(const ScheduledSequence& sequence) const {
  if (flows.is_over_served(*sequence.flow)) return nullptr;
  for (ScheduledSequence* active : embedding) {
    if (active != nullptr && active->flow != sequence.flow && flows.is_over_served(*active->flow)) return active;
  }
  return nullptr;
}

bool Scheduler::Impl::has_embedding_stream(const ScheduledSequence& sequence) const {
  const bool any_free = embedding.empty() || std::find(embedding.begin(), embedding.end(), nullptr) != embedding.end();
  return any_free || embedding_to_evict(sequence) != nullptr;
}

// False when it must wait for KV tokens. A sequence that can never be served ends.
bool Scheduler::Impl::admit_embedding(ScheduledSequence& sequence) {
  if (!embedding_kv) {
    auto made = KvContext::create(model, *pool,
                                  {.streams = embedding_streams,
                                   .stream_tokens_max = kv->stream_tokens_max(),
                                   .batch_tokens_max = embedding_batch_tokens_max,
                                   .ranks = model->info().pooling == Pooling::rank,
                                   .embeddings = true});
    if (!made) {
      log().error("embeddings: {}", made.error().message);
      end(sequence, SequenceStatus::unavailable);
      return true;
    }
    embedding_kv = std::move(*made);
    embedding.assign(embedding_streams, nullptr);
  }
  const uint32_t need = sequence.shared->tokens_max;
  if (reserved_tokens + need > kv_tokens_capacity) return false;
  auto place = std::find(embedding.begin(), embedding.end(), nullptr);
  if (place == embedding.end()) {
    ScheduledSequence* evicted = embedding_to_evict(sequence);
    if (evicted == nullptr) return false;
    place = embedding.begin() + evicted->slot;
    vacate_embedding(*evicted);
    update_queue(*evicted);
  }
  *place = &sequence;
  sequence.slot = static_cast<uint32_t>(place - embedding.begin());
  sequence.reserved_tokens = need;
  reserved_tokens += need;
  const int64_t now = monotonic_ns();
  if (sequence.admitted_ns == 0) sequence.admitted_ns = now;
  const int64_t queued_ns = now - sequence.waiting_since_ns;
  update_queue(sequence);
  std::lock_guard lock(sequence.shared->mutex);
  sequence.shared->stats.queue_ns += static_cast<uint64_t>(queued_ns);
  return true;
}

// Nothing of it is kept: what comes later is computed from the first token on.
void Scheduler::Impl::vacate_embedding(ScheduledSequence& sequence) {
  embedding_kv->clear(sequence.slot);
  embedding_kv->release_pages(sequence.slot);
  embedding[sequence.slot] = nullptr;
  sequence.slot = no_slot;
  sequence.kv_tokens = 0;
  sequence.pooled.clear();
  reserved_tokens -= std::exchange(sequence.reserved_tokens, 0u);
}

void Scheduler::Impl::plan_embeddings() {
  for (ScheduledSequence* sequence : embedding) {
    if (sequence == nullptr || !takes_part(*sequence)) continue;
    prefill.push_back(prefill_candidate(*sequence));
  }
}

// `slices`: of the plan, those that plan_embeddings asked for.
void Scheduler::Impl::add_embedding_slices(std::span<const PrefillCandidate> slices) {
  embedding_rows.clear();
  if (!embedding_kv) return;
  embedding_kv->begin_batch();
  // A slice is a pass over the weights of its own: beside others' tokens a small one is left for later.
  const uint32_t least = rows.empty() ? 1 : StepCost::prefill_slice_tokens_min;
  auto slice = slices.begin();
  for (ScheduledSequence* sequence : embedding) {
    if (sequence == nullptr || !takes_part(*sequence)) continue;
    const uint32_t count = std::min((slice++)->slice, embedding_batch_tokens_max - embedding_kv->batch_tokens());
    if (count == 0 || count < std::min(least, sequence->pending())) continue;
    const std::span<const int32_t> tokens(sequence->tokens.data() + sequence->kv_tokens, count);
    const int32_t last = embedding_kv->add(sequence->slot, sequence->kv_tokens, tokens, 1);
    embedding_rows.push_back({sequence, count, last + 1 - static_cast<int32_t>(count)});
  }
}

Result<uint32_t> Scheduler::Impl::compute_embeddings() {
  if (embedding_rows.empty()) return 0;
  const int64_t began_ns = monotonic_ns();
  if (auto decoded = embedding_kv->decode(); !decoded) {
    log().error("{}: {}; {} embeddings end", model->info().name, decoded.error().message, embedding_rows.size());
    for (const EmbeddingRow& row : embedding_rows) end(*row.sequence, SequenceStatus::unavailable);
    return fail(std::move(decoded));
  }
  uint32_t tokens = 0;
  for (const EmbeddingRow& row : embedding_rows) tokens += row.tokens;
  const double token_service = step_cost.service(monotonic_ns() - began_ns, tokens) / tokens;
  for (const EmbeddingRow& row : embedding_rows) {
    pool_rows(row);
    row.sequence->kv_tokens += row.tokens;
    row.sequence->flow->charge(token_service * row.tokens);
    if (row.sequence->pending() == 0) finish_embedding(*row.sequence);
  }
  return tokens;
}

void Scheduler::Impl::pool_rows(const EmbeddingRow& row) {
  ScheduledSequence& sequence = *row.sequence;
  if (model->info().pooling == Pooling::rank) {
    const auto scores = embedding_kv->scores(sequence.slot);
    sequence.pooled.assign(scores.begin(), scores.end());
    return;
  }
  sequence.pooled.resize(model->info().embedding_values);
  for (uint32_t i = 0; i < row.tokens; ++i) {
    const uint32_t position = sequence.kv_tokens + i;
    const std::span<const float> values = embedding_kv->embedding(row.first_index + static_cast<int32_t>(i));
    switch (model->info().pooling) {
      case Pooling::mean:
        for (size_t k = 0; k < values.size(); ++k) sequence.pooled[k] += static_cast<double>(values[k]);
        break;
      case Pooling::first:
        if (position == 0) sequence.pooled.assign(values.begin(), values.end());
        break;
      case Pooling::last:
        if (position + 1 == sequence.tokens.size()) sequence.pooled.assign(values.begin(), values.end());
        break;
      case Pooling::rank:
        break;
    }
  }
}

void Scheduler::Impl::finish_embedding(ScheduledSequence& sequence) {
  const int64_t now = monotonic_ns();
  SharedSequence& shared = *sequence.shared;
  const double count = model->info().pooling == Pooling::mean ? sequence.kv_tokens : 1;
  {
    std::lock_guard lock(shared.mutex);
    if (shared.epoch == sequence.epoch && !shared.closed) {
      shared.embedding.clear();
      for (const double value : sequence.pooled) shared.embedding.push_back(static_cast<float>(value / count));
      shared.stopped = true;
      shared.stats.prefill_ns = static_cast<uint64_t>(now - sequence.admitted_ns);
      if (std::exchange(shared.owner_waits, false) && shared.options.on_ready) shared.options.on_ready();
    }
  }
  sequence.halted = true;
  vacate_embedding(sequence);
  update_queue(sequence);
}

}  // namespace realm::engine
