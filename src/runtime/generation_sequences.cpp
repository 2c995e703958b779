// The functions of the program ABI: sequences and decoding.
#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "runtime/abi_answer.h"
#include "runtime/generation.h"

namespace realm::runtime {

// -- sequences

int32_t Generation::open_sequence(sandbox::HostCall& call, const std::shared_ptr<LoadedModel>& loaded,
                                  const realm_sequence_params_t& params, const SequenceOpener& open) {
  const uint32_t context = loaded->scheduler->context_tokens_max();
  if (params.tokens_max > context || params.priority > REALM_PRIORITY_HIGH || params.flags > REALM_SEQUENCE_EMBEDS || params.reserved != 0)
    return REALM_INVALID_ARGUMENT;
  const bool embeds = (params.flags & REALM_SEQUENCE_EMBEDS) != 0;
  const uint64_t kv_tokens = params.tokens_max > 0 ? params.tokens_max : context;
  if (!may_reserve(kv_tokens)) return REALM_LIMIT;
  const uint64_t reserved = realm_->kv_tokens_reserved.fetch_add(kv_tokens, std::memory_order_relaxed) + kv_tokens;
  OpenSequence sequence(realm_, loaded, params, kv_tokens);  // from here on it gives the reservation back
  if (realm_->limits.kv_tokens_max > 0 && reserved > realm_->limits.kv_tokens_max) return REALM_LIMIT;
  auto opened = open({.flow = realm_->flow,
                      .tokens_max = static_cast<uint32_t>(kv_tokens),
                      .priority = static_cast<engine::Priority>(params.priority),
                      .embeds = embeds,
                      .keep_prefix = !embeds && realm_->limits.keep_prefixes,
                      .queue_deadline_ms = realm_->limits.queue_deadline_ms,
                      .on_ready = [waker = call.waker()] { waker.wake(); }});
  if (!opened) {
    host_error_ = opened.error();
    return status_of(opened.error());
  }
  sequence.sequence = std::move(*opened);
  return handles_.insert(std::move(sequence)).value_or(REALM_LIMIT);
}

int32_t Generation::seq_open(sandbox::HostCall& call, int32_t model, const realm_sequence_params_t& params) {
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  engine::Scheduler& scheduler = *open->loaded->scheduler;
  return open_sequence(call, open->loaded, params,
                       [&scheduler](engine::SequenceOptions options) { return scheduler.open(std::move(options)); });
}

int32_t Generation::seq_fork(sandbox::HostCall& call, int32_t sequence, uint32_t length) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const auto loaded = open->loaded;
  const realm_sequence_params_t params = open->params;
  return open_sequence(call, loaded, params, [&loaded, length, &from = *open->sequence](engine::SequenceOptions options) {
    return loaded->scheduler->fork(from, length, std::move(options));
  });
}

int32_t Generation::seq_close(sandbox::HostCall&, int32_t sequence) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  if (open == nullptr) return REALM_BAD_HANDLE;
  count(*open);
  handles_.erase<OpenSequence>(sequence);
  return REALM_OK;
}

int32_t Generation::seq_length(sandbox::HostCall&, int32_t sequence) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  return open == nullptr ? static_cast<int32_t>(REALM_BAD_HANDLE) : static_cast<int32_t>(open->sequence->length());
}

int32_t Generation::seq_append(sandbox::HostCall&, int32_t sequence, std::span<const int32_t> tokens) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  if (open == nullptr) return REALM_BAD_HANDLE;
  if (tokens.size() > allowance_.tokens_left()) return REALM_LIMIT;
  const int32_t status = status_of(open->sequence->append(tokens));
  if (status == REALM_OK) allowance_.use_tokens(tokens.size());
  if (status == REALM_OK) realm_->tokens_appended.fetch_add(tokens.size(), std::memory_order_relaxed);
  return status;
}

int32_t Generation::seq_truncate(sandbox::HostCall&, int32_t sequence, uint32_t length) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  return open == nullptr ? static_cast<int32_t>(REALM_BAD_HANDLE) : status_of(open->sequence->truncate(length));
}

int32_t Generation::seq_stats(sandbox::HostCall&, int32_t sequence, realm_sequence_stats_t& stats) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const engine::SequenceStats known = open->sequence->stats();
  stats = {.tokens = known.tokens,
           .prompt_tokens = known.prompt_tokens,
           .cached_tokens = known.cached_tokens,
           .generated_tokens = known.generated_tokens,
           .discarded_tokens = known.discarded_tokens,
           .reserved = 0,
           .queue_ns = known.queue_ns,
           .prefill_ns = known.prefill_ns,
           .decode_ns = known.decode_ns};
  return REALM_OK;
}

// -- sequences that were saved under a name

int32_t Generation::seq_save(sandbox::HostCall&, int32_t sequence, std::span<const uint8_t> name) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const uint32_t length = open->sequence->length();
  if (name.empty() || name.size() > saved_name_bytes_max || length == 0) return REALM_INVALID_ARGUMENT;
  auto saved = open->loaded->scheduler->fork(*open->sequence, length, {.flow = realm_->flow, .tokens_max = length, .dormant = true});
  if (!saved) return status_of(saved.error());
  const RealmLimits& limits = realm_->limits;
  const bool kept =
      open->loaded->named.put(realm_->flow, as_text(name), std::move(*saved), limits.saved_sequences_max, limits.saved_tokens_max);
  return kept ? REALM_OK : REALM_LIMIT;
}

int32_t Generation::seq_load(sandbox::HostCall& call, int32_t model, std::span<const uint8_t> name, const realm_sequence_params_t& params) {
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const auto loaded = open->loaded;
  const auto saved = loaded->named.find(realm_->flow, as_text(name));
  if (!saved) return REALM_NOT_FOUND;
  return open_sequence(call, loaded, params, [&loaded, &saved](engine::SequenceOptions options) {
    return loaded->scheduler->fork(*saved, saved->length(), std::move(options));
  });
}

int32_t Generation::seq_forget(sandbox::HostCall&, int32_t model, std::span<const uint8_t> name) {
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  return open->loaded->named.erase(realm_->flow, as_text(name)) ? REALM_OK : REALM_NOT_FOUND;
}

// -- decoding

int32_t Generation::seq_sampler(sandbox::HostCall&, int32_t sequence, const realm_sampler_params_t& params,
                                std::span<const int32_t> bias_tokens, std::span<const float> bias_values) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  if (open == nullptr) return REALM_BAD_HANDLE;
  if (bias_tokens.size() != bias_values.size() || params.flags > (REALM_SAMPLER_STOP_AT_END | REALM_SAMPLER_JUDGED) ||
      params.reserved != 0) {
    return REALM_INVALID_ARGUMENT;
  }
  if (bias_tokens.size() > engine::logit_biases_max) return REALM_LIMIT;
  engine::DecodePlan plan{.sampler = {.temperature = params.temperature,
                                      .top_k = params.top_k,
                                      .top_p = params.top_p,
                                      .min_p = params.min_p,
                                      .typical_p = params.typical_p,
                                      .repetition_penalty = params.repetition_penalty,
                                      .frequency_penalty = params.frequency_penalty,
                                      .presence_penalty = params.presence_penalty,
                                      .penalty_last_n = params.penalty_last_n,
                                      .seed = params.seed,
                                      .logit_biases = {}},
                          .stop_at_end = (params.flags & REALM_SAMPLER_STOP_AT_END) != 0,
                          .new_tokens_max = params.new_tokens_max,
                          .keep_rows = (params.flags & REALM_SAMPLER_JUDGED) != 0};
  plan.sampler.logit_biases.reserve(bias_tokens.size());
  for (size_t i = 0; i < bias_tokens.size(); ++i) plan.sampler.logit_biases.emplace_back(bias_tokens[i], bias_values[i]);
  return status_of(open->sequence->set_plan(std::move(plan)));
}

std::optional<int32_t> Generation::seq_embed(sandbox::HostCall&, int32_t sequence, std::span<float> values) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const auto next = open->sequence->embed(values);
  note_missed_deadline(next.status);
  if (next.status != engine::SequenceStatus::ok) return status_of(next.status);
  if (next.count == 0) return std::nullopt;
  if (stats_.time_to_first_token_ns == 0) stats_.time_to_first_token_ns = static_cast<uint64_t>(monotonic_ns() - began_ns_);
  return static_cast<int32_t>(next.count);
}

void Generation::note_missed_deadline(engine::SequenceStatus status) {
  if (status != engine::SequenceStatus::deadline_exceeded) return;
  host_error_ = Error{ErrorCode::resource_exhausted,
                      "no place in the batch within " + std::to_string(realm_->limits.queue_deadline_ms) + " ms; try again later"};
}

std::optional<int32_t> Generation::seq_next(sandbox::HostCall&, int32_t sequence, std::span<int32_t> tokens) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  if (open == nullptr) return REALM_BAD_HANDLE;
  if (allowance_.tokens_left() == 0) return REALM_LIMIT;
  const auto next = open->sequence->next(tokens.first(std::min<uint64_t>(tokens.size(), allowance_.tokens_left())));
  note_missed_deadline(next.status);
  if (next.status != engine::SequenceStatus::ok) return status_of(next.status);
  if (next.count == 0) return std::nullopt;
  allowance_.use_tokens(next.count);
  realm_->tokens_taken.fetch_add(next.count, std::memory_order_relaxed);
  if (stats_.time_to_first_token_ns == 0) stats_.time_to_first_token_ns = static_cast<uint64_t>(monotonic_ns() - began_ns_);
  return static_cast<int32_t>(next.count);
}

std::optional<int32_t> Generation::seq_next_any(sandbox::HostCall&, std::span<const int32_t> sequences, std::span<int32_t> ready) {
  if (sequences.empty() || sequences.size() > realm_->limits.handles_max || ready.size() < sequences.size()) return REALM_INVALID_ARGUMENT;
  std::vector<int32_t> found;  // the two arrays may overlap
  for (const int32_t handle : sequences) {
    const OpenSequence* open = handles_.find<OpenSequence>(handle);
    if (open == nullptr) return REALM_BAD_HANDLE;
    if (open->sequence->is_ready()) found.push_back(handle);
  }
  if (found.empty()) return std::nullopt;
  return fill(ready, found);
}

int32_t Generation::seq_reject(sandbox::HostCall&, int32_t sequence, uint32_t position, std::span<const int32_t> banned) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  return open == nullptr ? static_cast<int32_t>(REALM_BAD_HANDLE) : status_of(open->sequence->reject(position, banned));
}

int32_t Generation::seq_mask(sandbox::HostCall&, int32_t sequence, uint32_t position, std::span<const uint8_t> allowed) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const uint32_t vocabulary = open->loaded->model->info().vocabulary_tokens;
  if (allowed.size() != (vocabulary + 7) / 8) return REALM_INVALID_ARGUMENT;
  std::vector<uint64_t> words((vocabulary + 63) / 64);
  for (size_t i = 0; i < allowed.size(); ++i) words[i / 8] |= uint64_t{allowed[i]} << (i % 8 * 8);
  return status_of(open->sequence->mask(position, words));
}

int32_t Generation::seq_guess(sandbox::HostCall&, int32_t sequence, std::span<const int32_t> tokens) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  return open == nullptr ? static_cast<int32_t>(REALM_BAD_HANDLE) : status_of(open->sequence->guess(tokens));
}

int32_t Generation::seq_push(sandbox::HostCall&, int32_t sequence, std::span<const int32_t> tokens) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  if (open == nullptr) return REALM_BAD_HANDLE;
  if (tokens.size() > allowance_.tokens_left()) return REALM_LIMIT;
  const int32_t status = status_of(open->sequence->push(tokens));
  if (status == REALM_OK) allowance_.use_tokens(tokens.size());
  return status;
}

int32_t Generation::seq_candidates(sandbox::HostCall&, int32_t sequence, uint32_t position, std::span<int32_t> tokens,
                                   std::span<float> logprobs) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const size_t wanted = std::min({tokens.size(), logprobs.size(), size_t{engine::candidates_max}});
  if (wanted == 0) return REALM_INVALID_ARGUMENT;
  const auto candidates = open->sequence->candidates(position, static_cast<uint32_t>(wanted));
  if (candidates.empty()) return REALM_NOT_FOUND;
  for (size_t i = 0; i < candidates.size(); ++i) {
    tokens[i] = candidates[i].token;
    logprobs[i] = candidates[i].logprob;
  }
  return static_cast<int32_t>(candidates.size());
}

int32_t Generation::seq_logprobs(sandbox::HostCall&, int32_t sequence, uint32_t position, std::span<const int32_t> tokens,
                                 std::span<float> logprobs) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  if (open == nullptr) return REALM_BAD_HANDLE;
  if (tokens.size() != logprobs.size() || tokens.size() > engine::candidates_max) return REALM_INVALID_ARGUMENT;
  const auto& model = *open->loaded->model;
  if (!std::ranges::all_of(tokens, [&](int32_t token) { return model.is_token(token); })) return REALM_INVALID_ARGUMENT;
  return open->sequence->logprobs(position, tokens, logprobs) ? static_cast<int32_t>(tokens.size()) : static_cast<int32_t>(REALM_NOT_FOUND);
}

int32_t Generation::seq_logits(sandbox::HostCall&, int32_t sequence, uint32_t position, std::span<float> logits) {
  const OpenSequence* open = handles_.find<OpenSequence>(sequence);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const uint32_t count = open->sequence->logits(position, logits);
  return count > 0 ? static_cast<int32_t>(count) : static_cast<int32_t>(REALM_NOT_FOUND);
}

}  // namespace realm::runtime
