// Logit rows that a sequence keeps of its newest drawn tokens, so that its owner can look at what else was likely, and a refused token
// can be drawn anew without computing the row again. Internal to the engine.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/sequence.h"

namespace realm::engine {

// One token that the owner has just taken, and what may be drawn ahead of it.
constexpr uint32_t judged_run_ahead_tokens_max = 2;
constexpr uint32_t kept_rows_max = 1 + judged_run_ahead_tokens_max;

// Immutable, so any thread may read it; counts its memory in `bytes_kept` while it lives.
class KeptRow {
 public:
  KeptRow(std::span<const float> logits, std::shared_ptr<std::atomic<uint64_t>> bytes_kept)
      : logits_(logits.begin(), logits.end()), bytes_kept_(std::move(bytes_kept)) {
    bytes_kept_->fetch_add(bytes(), std::memory_order_relaxed);
  }
  ~KeptRow() { bytes_kept_->fetch_sub(bytes(), std::memory_order_relaxed); }
  KeptRow(const KeptRow&) = delete;
  KeptRow& operator=(const KeptRow&) = delete;

  std::span<const float> logits() const noexcept { return logits_; }

 private:
  uint64_t bytes() const noexcept { return logits_.size() * sizeof(float); }
  std::vector<float> logits_;
  std::shared_ptr<std::atomic<uint64_t>> bytes_kept_;
};

// By position of the token that is drawn from the row. Not for two threads at once.
class KeptRows {
 public:
  std::shared_ptr<const KeptRow> find(uint32_t position) const;
  // Replaces the row of the position; beyond kept_rows_max the lowest position goes.
  void keep(uint32_t position, std::shared_ptr<const KeptRow> row);
  void drop_before(uint32_t position);
  void drop_after(uint32_t position);
  void clear() { rows_.clear(); }

 private:
  struct Entry {
    uint32_t position;
    std::shared_ptr<const KeptRow> row;
  };
  std::vector<Entry> rows_;  // by rising position
};

// The `count` likeliest tokens of a row with their log-probabilities over the whole vocabulary, likeliest first, at equal likelihood
// by rising id. Fewer when the vocabulary is smaller.
std::vector<TokenLogprob> likeliest(std::span<const float> logits, uint32_t count);

// The logarithm of the sum of e^logit: a log-probability is the logit minus this. Minus infinity and NaN count as no mass.
double log_mass(std::span<const float> logits);

}  // namespace realm::engine
