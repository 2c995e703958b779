// The functions of the program ABI: the request, models. The others are in generation_*.cpp.
#include "runtime/generation.h"

#include <sys/random.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "runtime/abi_answer.h"

namespace realm::runtime {
namespace {

constexpr size_t tokenize_foreground_bytes_max = 16u << 10;  // some 15 ms

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
  std::string line = valid_utf8(as_text(text.first(std::min<size_t>(text.size(), log_line_bytes_max))));
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
          .embedding_values = known.embedding_values,
          .ranks = known.pooling == engine::Pooling::rank};
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
    case REALM_TEXT_RERANK_TEMPLATE:
      return fill(destination, info.rerank_template);
    case REALM_TEXT_NAME:
      return fill(destination, open->name);
    default:
      return REALM_INVALID_ARGUMENT;
  }
}

std::optional<int32_t> Generation::tokenize(sandbox::HostCall& call, int32_t model, uint32_t flags, std::span<const uint8_t> text,
                                            std::span<int32_t> tokens) {
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  if (flags > (REALM_TOKENIZE_ADD_SPECIAL | REALM_TOKENIZE_PARSE_SPECIAL)) return REALM_INVALID_ARGUMENT;
  if (text.size() > tokenize_foreground_bytes_max && !call.goes_on_in_background()) return std::nullopt;
  const int64_t began_ns = thread_cpu_ns();
  const auto ids = open->loaded->model->tokenize(as_text(text), {.add_special = (flags & REALM_TOKENIZE_ADD_SPECIAL) != 0,
                                                                 .parse_special = (flags & REALM_TOKENIZE_PARSE_SPECIAL) != 0});
  stats_.tokenizer_cpu_ns += static_cast<uint64_t>(thread_cpu_ns() - began_ns);
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

}  // namespace realm::runtime
