// One llama context seen as a row of KV streams: decode, roll back, save, restore. Scheduler thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/compute_pool.h"
#include "engine/kv_memory.h"
#include "engine/kv_type.h"
#include "engine/model.h"
#include "engine/state_store.h"

struct llama_context;

namespace realm::engine {

struct KvContextOptions {
  uint32_t streams = 1;             // 1 to 256
  uint32_t stream_tokens_max = 0;   // cells of one stream
  uint32_t batch_tokens_max = 512;  // of one micro-batch
  uint32_t extra_rows_max = 0;      // of logits, beyond one of each stream
  bool ranks = false;               // with embeddings: scores of a stream's last token
  KvType kv_type = KvType::f16;
  bool embeddings = false;  // rows of the last layer's output rather than logits, of every token
};

class KvContext {
 public:
  static Result<std::unique_ptr<KvContext>> create(std::shared_ptr<Model> model, const ComputePool& pool, const KvContextOptions& options);
  ~KvContext();
  KvContext(const KvContext&) = delete;
  KvContext& operator=(const KvContext&) = delete;

  uint32_t stream_tokens_max() const noexcept { return stream_tokens_max_; }
  uint64_t bytes_per_token() const noexcept { return memory_->bytes_per_token(); }

  // -- one decode call. Rows must be added in rising order of streams and positions.
  void begin_batch() noexcept;
  // Adds tokens at `position` of `stream`; returns the batch index of the last one. Logits are wanted of the last `logits` of them.
  int32_t add(uint32_t stream, uint32_t position, std::span<const int32_t> tokens, uint32_t logits);
  uint32_t batch_tokens() const noexcept;
  // Computes the batch. False: it was interrupted, and part of it may be in the streams. After a failure the streams of the batch hold
  // nothing that can be relied on.
  Result<bool> decode();
  // Asked between two operations of a decode on the CPU, on the same thread: true ends it.
  void set_interrupt(std::function<bool()> interrupt);
  std::span<const float> logits(int32_t batch_index) const;
  std::span<const float> embedding(int32_t batch_index) const;  // as logits(), in a context made for it
  std::span<const float> scores(uint32_t stream) const;         // of the last token that the batch had of it

  // -- streams
  // Keeps the first `length` tokens. False when the model cannot roll back part of a sequence: the stream is then empty.
  bool truncate(uint32_t stream, uint32_t length);
  void clear(uint32_t stream);
  // Saved KV of a stream; empty when the store's budget does not hold it.
  SavedState save(uint32_t stream, StateStore& store);
  bool restore(uint32_t stream, std::span<const uint8_t> state);
  void release_pages(uint32_t stream) const noexcept { memory_->release(stream); }

 private:
  KvContext() = default;
  std::shared_ptr<Model> model_;
  llama_context* context_ = nullptr;
  std::unique_ptr<KvMemory> memory_;
  uint32_t stream_tokens_max_ = 0;
  struct Batch;
  std::unique_ptr<Batch> batch_;
  uint32_t vocabulary_tokens_ = 0;
  bool embeddings_ = false;
  std::function<bool()> interrupt_;
};

}  // namespace realm::engine
