#include "engine/kv_context.h"

#include <llama.h>

#include <algorithm>
#include <exception>
#include <new>

#include "base/check.h"

namespace realm::engine {

// Plain arrays in the shape that llama_decode reads, reused from step to step.
struct KvContext::Batch {
  std::vector<llama_token> tokens;
  std::vector<llama_pos> positions;
  std::vector<int32_t> sequence_counts;
  std::vector<llama_seq_id> sequence_ids;
  std::vector<llama_seq_id*> sequence_pointers;
  std::vector<int8_t> logits;
};

Result<std::unique_ptr<KvContext>> KvContext::create(std::shared_ptr<Model> model, const ComputePool& pool,
                                                     const KvContextOptions& options) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = options.stream_tokens_max * options.streams;
  params.n_batch = options.batch_tokens_max + 2 * options.streams + options.extra_rows_max;
  params.n_ubatch = std::max(options.batch_tokens_max, options.streams);
  params.n_seq_max = options.streams;
  params.n_outputs_max = options.embeddings ? params.n_batch : std::max(options.streams, 8u) + options.extra_rows_max;
  params.embeddings = options.embeddings;
  // Pooled here, over the slices of a prompt; but for scores the last slice is enough, and llama.cpp has the head.
  params.pooling_type = options.ranks ? LLAMA_POOLING_TYPE_RANK : LLAMA_POOLING_TYPE_NONE;
  params.n_threads = params.n_threads_batch = static_cast<int32_t>(pool.threads());
  if (options.kv_type == KvType::q8_0) {
    params.type_k = params.type_v = GGML_TYPE_Q8_0;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;  // llama.cpp quantises values for nothing else
  }
  params.kv_unified = false;
  params.swa_full = true;  // a windowed cache could not be rolled back
  params.no_perf = true;

  auto context = std::unique_ptr<KvContext>(new KvContext);
  context->model_ = std::move(model);
  context->vocabulary_tokens_ = context->model_->info().vocabulary_tokens;
  take_last_native_error();
  try {
    context->context_ = llama_init_from_model(context->model_->native(), params);
  } catch (const std::exception& e) {
    return fail(ErrorCode::resource_exhausted, std::string("compute context: ") + e.what());
  }
  if (context->context_ == nullptr) {
    return fail(ErrorCode::resource_exhausted, "compute context for " + context->model_->info().name + " could not be made (" +
                                                   take_last_native_error() + "); use a shorter --ctx");
  }
  pool.attach(context->context_);
  context->stream_tokens_max_ = llama_n_ctx_seq(context->context_);
  context->memory_ = std::make_unique<KvMemory>(context->context_);
  context->batch_ = std::make_unique<Batch>();
  context->embeddings_ = options.embeddings;
  return context;
}

KvContext::~KvContext() {
  if (context_ != nullptr) llama_free(context_);
}

void KvContext::begin_batch() noexcept {
  batch_->tokens.clear();
  batch_->positions.clear();
  batch_->sequence_ids.clear();
  batch_->logits.clear();
}

int32_t KvContext::add(uint32_t stream, uint32_t position, std::span<const int32_t> tokens, uint32_t logits) {
  REALM_CHECK(position + tokens.size() <= stream_tokens_max_);
  for (const int32_t token : tokens) {
    REALM_CHECK(model_->is_token(token));
    batch_->tokens.push_back(token);
    batch_->positions.push_back(static_cast<llama_pos>(position++));
    batch_->sequence_ids.push_back(static_cast<llama_seq_id>(stream));
    batch_->logits.push_back(embeddings_ ? 1 : 0);
  }
  std::fill(batch_->logits.end() - logits, batch_->logits.end(), int8_t{1});
  return static_cast<int32_t>(batch_->tokens.size()) - 1;
}

uint32_t KvContext::batch_tokens() const noexcept { return static_cast<uint32_t>(batch_->tokens.size()); }

void KvContext::set_interrupt(std::function<bool()> interrupt) {
  interrupt_ = std::move(interrupt);
  llama_set_abort_callback(
      context_, [](void* self) { return static_cast<KvContext*>(self)->interrupt_(); }, this);
}

Result<bool> KvContext::decode() {
  Batch& batch = *batch_;
  const auto count = batch.tokens.size();
  batch.sequence_counts.assign(count, 1);
  batch.sequence_pointers.resize(count);
  for (size_t i = 0; i < count; ++i) batch.sequence_pointers[i] = &batch.sequence_ids[i];
  const llama_batch native{.n_tokens = static_cast<int32_t>(count),
                           .token = batch.tokens.data(),
                           .embd = nullptr,
                           .pos = batch.positions.data(),
                           .n_seq_id = batch.sequence_counts.data(),
                           .seq_id = batch.sequence_pointers.data(),
                           .logits = batch.logits.data()};
  take_last_native_error();
  int32_t status = 0;
  try {
    status = llama_decode(context_, native);
  } catch (const std::exception& e) {
    return fail(ErrorCode::unavailable, std::string("the backend failed on a batch: ") + e.what());
  }
  if (status == 0) return true;
  if (status == 2) return false;
  return fail(ErrorCode::unavailable, "the backend failed on a batch of " + std::to_string(count) + " tokens: " + take_last_native_error());
}

std::span<const float> KvContext::logits(int32_t batch_index) const {
  const float* row = llama_get_logits_ith(context_, batch_index);
  REALM_CHECK(row != nullptr);
  return {row, vocabulary_tokens_};
}

std::span<const float> KvContext::embedding(int32_t batch_index) const {
  const float* row = llama_get_embeddings_ith(context_, batch_index);
  REALM_CHECK(row != nullptr);
  return {row, model_->info().embedding_values};
}

std::span<const float> KvContext::scores(uint32_t stream) const {
  const float* row = llama_get_embeddings_seq(context_, static_cast<llama_seq_id>(stream));
  REALM_CHECK(row != nullptr);
  return {row, model_->info().embedding_values};
}

bool KvContext::truncate(uint32_t stream, uint32_t length) {
  auto* memory = llama_get_memory(context_);
  const auto id = static_cast<llama_seq_id>(stream);
  if (length > 0 && llama_memory_seq_rm(memory, id, static_cast<llama_pos>(length), -1)) return true;
  llama_memory_seq_rm(memory, id, -1, -1);
  return length == 0;
}

void KvContext::clear(uint32_t stream) { llama_memory_seq_rm(llama_get_memory(context_), static_cast<llama_seq_id>(stream), -1, -1); }

SavedState KvContext::save(uint32_t stream, StateStore& store) {
  const auto id = static_cast<llama_seq_id>(stream);
  SavedState state = store.allocate(llama_state_seq_get_size(context_, id));
  if (!state) return state;
  const size_t written = llama_state_seq_get_data(context_, state.bytes().data(), state.bytes().size(), id);
  if (written != state.bytes().size()) return {};
  return state;
}

bool KvContext::restore(uint32_t stream, std::span<const uint8_t> state) {
  const auto id = static_cast<llama_seq_id>(stream);
  if (llama_state_seq_set_data(context_, state.data(), state.size(), id) == state.size()) return true;
  clear(stream);
  return false;
}

}  // namespace realm::engine
