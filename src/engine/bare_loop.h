// Plain llama.cpp: one context, one loop, the largest logit. What the scheduler's output and speed are held against in tests and
// benchmarks.
#pragma once

#include <llama.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/compute_pool.h"
#include "engine/model.h"

namespace realm::engine {

class BareLoop {
 public:
  BareLoop(const Model& model, ComputePool& pool, uint32_t sequences, uint32_t context_tokens, uint32_t micro_batch_tokens)
      : pool_(pool), vocabulary_(model.info().vocabulary_tokens) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = sequences * context_tokens;
    params.n_seq_max = sequences;
    params.n_batch = std::max(micro_batch_tokens, context_tokens) + sequences;
    params.n_ubatch = std::max(micro_batch_tokens, sequences);
    params.n_threads = params.n_threads_batch = static_cast<int32_t>(pool.threads());
    params.kv_unified = false;
    params.swa_full = true;
    params.no_perf = true;
    context_ = llama_init_from_model(model.native(), params);
    pool.attach(context_);
    batch_ = llama_batch_init(static_cast<int32_t>(params.n_batch), 0, 1);
  }
  ~BareLoop() {
    llama_batch_free(batch_);
    llama_free(context_);
  }
  BareLoop(const BareLoop&) = delete;
  BareLoop& operator=(const BareLoop&) = delete;

  // Prefills every prompt, then decodes all sequences together, `new_tokens` each. Empty after a failure.
  std::vector<std::vector<int32_t>> generate(const std::vector<std::vector<int32_t>>& prompts, uint32_t new_tokens) {
    llama_memory_clear(llama_get_memory(context_), false);
    std::vector<std::vector<int32_t>> outputs(prompts.size());
    std::vector<int32_t> last(prompts.size());
    for (size_t i = 0; i < prompts.size(); ++i) {
      batch_.n_tokens = 0;
      for (size_t at = 0; at < prompts[i].size(); ++at) add(prompts[i][at], at, i, at + 1 == prompts[i].size());
      if (!decode()) return {};
      last[i] = largest(batch_.n_tokens - 1);
      outputs[i].push_back(last[i]);
    }
    for (uint32_t step = 1; step < new_tokens; ++step) {
      batch_.n_tokens = 0;
      for (size_t i = 0; i < prompts.size(); ++i) add(last[i], prompts[i].size() + step - 1, i, true);
      if (!decode()) return {};
      for (size_t i = 0; i < prompts.size(); ++i) {
        last[i] = largest(static_cast<int32_t>(i));
        outputs[i].push_back(last[i]);
      }
    }
    return outputs;
  }

 private:
  void add(int32_t token, size_t position, size_t sequence, bool logits) {
    const int32_t at = batch_.n_tokens++;
    batch_.token[at] = token;
    batch_.pos[at] = static_cast<llama_pos>(position);
    batch_.n_seq_id[at] = 1;
    batch_.seq_id[at][0] = static_cast<llama_seq_id>(sequence);
    batch_.logits[at] = logits ? 1 : 0;
  }
  bool decode() {
    const auto turn = pool_.acquire();
    return llama_decode(context_, batch_) == 0;
  }
  int32_t largest(int32_t row) const {
    const float* logits = llama_get_logits_ith(context_, row);
    return static_cast<int32_t>(std::max_element(logits, logits + vocabulary_) - logits);
  }

  ComputePool& pool_;
  uint32_t vocabulary_;
  llama_context* context_ = nullptr;
  llama_batch batch_{};
};

}  // namespace realm::engine
