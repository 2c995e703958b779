// The functions of the program ABI.
#include "runtime/generation.h"

#include <sys/random.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/log.h"

namespace realm::runtime {
namespace {

std::string_view as_text(std::span<const uint8_t> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// Copies the answer when all of it fits; returns its length either way.
template <class T, class From>
int32_t fill(std::span<T> destination, const From& answer) {
  if (answer.size() <= destination.size()) std::copy(answer.begin(), answer.end(), destination.begin());
  return static_cast<int32_t>(answer.size());
}

int32_t status_of(engine::SequenceStatus status) {
  switch (status) {
    case engine::SequenceStatus::ok:
      return REALM_OK;
    case engine::SequenceStatus::context_full:
      return REALM_CONTEXT_FULL;
    case engine::SequenceStatus::invalid_argument:
      return REALM_INVALID_ARGUMENT;
    case engine::SequenceStatus::limit:
      return REALM_LIMIT;
    case engine::SequenceStatus::deadline_exceeded:
    case engine::SequenceStatus::unavailable:
      return REALM_UNAVAILABLE;
  }
  return REALM_UNAVAILABLE;
}

int32_t status_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::context_exceeded:
      return REALM_INVALID_ARGUMENT;
    case ErrorCode::resource_exhausted:
      return REALM_LIMIT;
    case ErrorCode::not_found:
      return REALM_NOT_FOUND;
    case ErrorCode::cancelled:
      return REALM_CANCELLED;
    case ErrorCode::unsupported:
      return REALM_UNSUPPORTED;
    default:
      return REALM_UNAVAILABLE;
  }
}

}  // namespace

// -- the request

int32_t Generation::input_size(sandbox::HostCall&) {
  note_first_call();
  return static_cast<int32_t>(request_.body.size());
}

int32_t Generation::input_read(sandbox::HostCall&, std::span<uint8_t> destination, uint32_t offset) {
  note_first_call();
  if (offset > request_.body.size()) return REALM_INVALID_ARGUMENT;
  const auto count = std::min(destination.size(), request_.body.size() - offset);
  std::copy_n(request_.body.begin() + offset, count, destination.begin());
  return static_cast<int32_t>(count);
}

int32_t Generation::request_text(sandbox::HostCall&, uint32_t which, std::span<uint8_t> destination) {
  note_first_call();
  switch (which) {
    case REALM_REQUEST_ROUTE:
      return fill(destination, request_.route);
    case REALM_REQUEST_ID:
      return fill(destination, request_.id);
    default:
      return REALM_INVALID_ARGUMENT;
  }
}

int32_t Generation::respond(sandbox::HostCall&, uint32_t status, uint32_t content) {
  const bool known = status >= 200 && status <= 599 && content >= REALM_CONTENT_JSON && content <= REALM_CONTENT_BYTES;
  if (!known || status_ != 0 || emitted_bytes_ > 0) return REALM_INVALID_ARGUMENT;
  status_ = static_cast<uint16_t>(status);
  content_ = content;
  return REALM_OK;
}

// Text and summary answer a native request, body and events one with a route, after respond().
bool Generation::may_emit(uint32_t kind) const {
  switch (kind) {
    case REALM_EMIT_TEXT:
    case REALM_EMIT_SUMMARY:
      return status_ == 0 && !summary_emitted_;
    case REALM_EMIT_BODY:
      return status_ != 0 && content_ != REALM_CONTENT_EVENTS;
    case REALM_EMIT_EVENT:
      return status_ != 0 && content_ == REALM_CONTENT_EVENTS;
    default:
      return false;
  }
}

EmitResult Generation::offer(uint32_t kind, std::string_view bytes) {
  if (status_ != 0 && !std::exchange(head_delivered_, true)) listener_.on_head(status_, static_cast<Content>(content_));
  switch (kind) {
    case REALM_EMIT_TEXT:
      return listener_.on_text(bytes);
    case REALM_EMIT_SUMMARY:
      return listener_.on_summary(bytes);
    case REALM_EMIT_BODY:
      return listener_.on_body(bytes);
    default:
      break;
  }
  const size_t name_end = std::min(bytes.find('\n'), bytes.size());
  return listener_.on_event(bytes.substr(0, name_end), bytes.substr(std::min(name_end + 1, bytes.size())));
}

std::optional<int32_t> Generation::emit(sandbox::HostCall& call, uint32_t kind, std::span<const uint8_t> bytes) {
  if (!may_emit(kind)) return REALM_INVALID_ARGUMENT;
  if (bytes.size() > realm_->limits.emitted_bytes_max - emitted_bytes_) return REALM_LIMIT;
  EmitResult result = offer(kind, as_text(bytes));
  if (result == EmitResult::full) {
    {
      std::lock_guard lock(mutex_);
      emit_waker_ = call.waker();
    }
    result = offer(kind, as_text(bytes));  // room made before the waker was in place would go unnoticed
    if (result == EmitResult::full) return std::nullopt;
  }
  if (result == EmitResult::gone) return REALM_CANCELLED;
  emitted_bytes_ += bytes.size();
  summary_emitted_ = kind == REALM_EMIT_SUMMARY;
  return REALM_OK;
}

int32_t Generation::log(sandbox::HostCall&, uint32_t level, std::span<const uint8_t> text) {
  if (level > REALM_LOG_ERROR) return REALM_INVALID_ARGUMENT;
  if (++log_lines_ > log_lines_max) return REALM_LIMIT;
  std::string line(as_text(text.first(std::min<size_t>(text.size(), log_line_bytes_max))));
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  static constexpr spdlog::level::level_enum levels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                                                         spdlog::level::err};
  realm::log().log(levels[level], "program of realm {}: {}", realm_->id, line);
  return REALM_OK;
}

int64_t Generation::clock_ns(sandbox::HostCall&) { return monotonic_ns() - began_ns_; }

int32_t Generation::random(sandbox::HostCall&, std::span<uint8_t> destination) {
  if (destination.size() > random_bytes_max) return REALM_LIMIT;
  return getrandom(destination.data(), destination.size(), 0) == static_cast<ssize_t>(destination.size()) ? REALM_OK : REALM_UNAVAILABLE;
}

// -- models

std::optional<int32_t> Generation::model_open(sandbox::HostCall& call, std::span<const uint8_t> name) {
  note_first_call();
  if (!opening_) {
    const auto wanted = allowance_.model(as_text(name));
    if (!wanted) return REALM_NOT_FOUND;
    opening_ = std::make_shared<OpeningModel>();
    models_.open_model(*wanted, *realm_, [opening = opening_, waker = call.waker()](Result<std::shared_ptr<LoadedModel>> result) {
      {
        std::lock_guard lock(opening->mutex);
        opening->result = std::move(result);
      }
      waker.wake();
    });
  }
  std::shared_ptr<LoadedModel> loaded;
  {
    std::lock_guard lock(opening_->mutex);
    if (!opening_->result) return std::nullopt;
    if (!*opening_->result) {
      host_error_ = opening_->result->error();
    } else {
      loaded = std::move(**opening_->result);
    }
  }
  opening_.reset();
  if (!loaded) return host_error_->code == ErrorCode::not_found ? REALM_NOT_FOUND : REALM_UNAVAILABLE;
  std::string opened_as = loaded->model->info().name;
  stats_.model = opened_as;
  return handles_.insert(OpenModel{std::move(loaded), std::move(opened_as)}).value_or(REALM_LIMIT);
}

int32_t Generation::model_close(sandbox::HostCall&, int32_t model) {
  return handles_.erase<OpenModel>(model) ? REALM_OK : REALM_BAD_HANDLE;
}

int32_t Generation::model_info(sandbox::HostCall&, int32_t model, realm_model_info_t& info) {
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const engine::ModelInfo& known = open->loaded->model->info();
  info = {.context_tokens_max = open->loaded->scheduler->context_tokens_max(),
          .context_tokens_trained = known.context_tokens_trained,
          .vocabulary_tokens = known.vocabulary_tokens,
          .bos_token = known.bos_token,
          .eos_token = known.eos_token,
          .eot_token = known.eot_token,
          .adds_bos = known.adds_bos,
          .adds_eos = known.adds_eos,
          .embedding_values = known.embedding_values};
  return REALM_OK;
}

int32_t Generation::model_text(sandbox::HostCall&, int32_t model, uint32_t which, std::span<uint8_t> destination) {
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const engine::ModelInfo& info = open->loaded->model->info();
  switch (which) {
    case REALM_TEXT_CHAT_TEMPLATE:
      return fill(destination, info.chat_template);
    case REALM_TEXT_CHAT_TEMPLATE_TOOLS:
      return fill(destination, info.chat_template_tools);
    case REALM_TEXT_ARCHITECTURE:
      return fill(destination, info.architecture);
    case REALM_TEXT_QUANTIZATION:
      return fill(destination, info.quantization);
    case REALM_TEXT_NAME:
      return fill(destination, open->name);
    default:
      return REALM_INVALID_ARGUMENT;
  }
}

int32_t Generation::tokenize(sandbox::HostCall&, int32_t model, uint32_t flags, std::span<const uint8_t> text, std::span<int32_t> tokens) {
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  if (flags > (REALM_TOKENIZE_ADD_SPECIAL | REALM_TOKENIZE_PARSE_SPECIAL)) return REALM_INVALID_ARGUMENT;
  const auto ids = open->loaded->model->tokenize(as_text(text), {.add_special = (flags & REALM_TOKENIZE_ADD_SPECIAL) != 0,
                                                                 .parse_special = (flags & REALM_TOKENIZE_PARSE_SPECIAL) != 0});
  return ids ? fill(tokens, *ids) : status_of(ids.error());
}

int32_t Generation::detokenize(sandbox::HostCall&, int32_t model, uint32_t flags, std::span<const int32_t> tokens,
                               std::span<uint8_t> destination) {
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  if (flags > REALM_DETOKENIZE_SPECIAL) return REALM_INVALID_ARGUMENT;
  scratch_.clear();
  for (const int32_t token : tokens) {
    if (auto appended = open->loaded->model->append_token_text(token, flags != 0, scratch_); !appended) return status_of(appended.error());
    if (scratch_.size() > realm_->limits.emitted_bytes_max) return REALM_LIMIT;
  }
  return fill(destination, scratch_);
}

int32_t Generation::token_flags(sandbox::HostCall&, int32_t model, int32_t token) {
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const engine::Model& known = *open->loaded->model;
  if (!known.is_token(token)) return REALM_INVALID_ARGUMENT;
  return (known.is_end_of_generation(token) ? REALM_TOKEN_END_OF_GENERATION : 0) | (known.is_control(token) ? REALM_TOKEN_CONTROL : 0);
}

int32_t Generation::model_vocabulary(sandbox::HostCall&, int32_t model, std::span<uint8_t> destination) {
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  return fill(destination, open->loaded->model->sorted_vocabulary());
}

// -- sequences

int32_t Generation::seq_open(sandbox::HostCall& call, int32_t model, const realm_sequence_params_t& params) {
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const uint32_t context = open->loaded->scheduler->context_tokens_max();
  if (params.tokens_max > context || params.priority > REALM_PRIORITY_HIGH || params.flags > REALM_SEQUENCE_EMBEDS || params.reserved != 0)
    return REALM_INVALID_ARGUMENT;
  const bool embeds = (params.flags & REALM_SEQUENCE_EMBEDS) != 0;
  const uint64_t kv_tokens = params.tokens_max > 0 ? params.tokens_max : context;
  if (!may_reserve(kv_tokens)) return REALM_LIMIT;
  const uint64_t reserved = realm_->kv_tokens_reserved.fetch_add(kv_tokens, std::memory_order_relaxed) + kv_tokens;
  OpenSequence sequence(realm_, open->loaded, nullptr, kv_tokens);  // from here on it gives the reservation back
  if (realm_->limits.kv_tokens_max > 0 && reserved > realm_->limits.kv_tokens_max) return REALM_LIMIT;
  auto opened = open->loaded->scheduler->open({.flow = realm_->flow,
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

}  // namespace realm::runtime
