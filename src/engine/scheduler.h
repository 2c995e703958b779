// Continuous batching of many owners' sequences over one model: one thread, one llama context.
//
// A step is one decode call over one token of every sequence that is generating and slices of prompts. Active sequences sit in a
// dense range of KV streams ("slots"): llama.cpp reads all weights once more for every gap in the range. A sequence that has nothing
// to do is parked, its KV saved to memory or, when the budget is spent, dropped and recomputed later from its tokens.
//
// Who goes next, when not everybody can: the flow with the smallest virtual token counter (VTC, arXiv 2401.00588: an input token
// costs 1, an output token 2, divided by the flow's weight; a flow that returns from idle is lifted to the smallest active one).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "engine/compute_pool.h"
#include "engine/kv_type.h"
#include "engine/model.h"
#include "engine/sequence.h"

namespace realm::engine {

constexpr uint32_t context_tokens_default = 8'192;
constexpr uint32_t flow_stats_age_ms = 200;
constexpr uint64_t published_share = 4;  // a quarter of saved_bytes_max is the most that published prefixes may take

struct SchedulerOptions {
  uint32_t sequences_max = 256;           // active at once: 1 to 256
  uint32_t context_tokens_max = 0;        // longest sequence; 0: what the model was trained for, at most context_tokens_default
  uint64_t kv_bytes_max = 0;              // reserved by active sequences together; 0: half of the memory free at start
  KvType kv_type = KvType::f16;           // q8_0: about half of the memory a token, the output is not quite the same
  uint64_t saved_bytes_max = 1ull << 30;  // saved KV of idle sequences, and of ended ones as prefixes for later
  uint32_t sequences_open_max = 16'384;   // live handles, active or not
  uint32_t prefill_tokens_max = 512;      // of one step, all sequences together
  uint32_t one_flow_tokens_max = 128;     // of a step of one flow's prompts alone: a newcomer waits for no longer
  uint32_t inter_token_target_ms = 60;    // prefill slices shrink to keep a step within it, or within two decodes, while others generate
  bool run_ahead = true;                  // false: each token only when its owner asks for it. The output is the same
};

struct SchedulerStats {
  uint32_t context_tokens_max = 0;
  uint64_t kv_tokens_capacity = 0;
  uint64_t kv_bytes_per_token = 0;
  uint64_t kv_tokens_reserved = 0;
  uint32_t sequences_open = 0;
  uint32_t sequences_active = 0;
  uint32_t sequences_waiting = 0;
  uint64_t saved_bytes = 0;
  uint64_t kept_row_bytes = 0;  // logit rows of judged sequences, at most kept_rows_max each
  uint64_t steps = 0;
  uint64_t prefill_tokens = 0;
  uint64_t decode_tokens = 0;
  uint64_t discarded_tokens = 0;
  uint64_t redrawn_tokens = 0;  // drawn anew from a kept row
  uint64_t guessed_tokens = 0;  // computed because their owner expected them
  uint64_t guessed_right_tokens = 0;
  uint64_t prefix_hit_tokens = 0;
  uint64_t forked_tokens = 0;  // whose KV was copied from a relative
  uint64_t slot_moves = 0;
  uint64_t interrupted_steps = 0;  // of long prompts, for somebody who had less
  uint64_t parks = 0;
  uint64_t compute_ns = 0;  // inside the backend
  uint64_t sample_ns = 0;
  uint64_t step_ns = 0;  // whole steps, compute and sampling included
  uint64_t away_ns = 0;  // between them, for work of low priority
};

// Of a flow with sequences in the batch or before it.
struct FlowStats {
  FlowId flow = 0;
  uint32_t sequences_active = 0;
  uint32_t sequences_waiting = 0;
  uint64_t kv_tokens_reserved = 0;
};

class Scheduler {
 public:
  // Fails with resource_exhausted when the context does not fit, unsupported when the model cannot be served this way.
  static Result<std::unique_ptr<Scheduler>> create(std::shared_ptr<Model> model, std::shared_ptr<ComputePool> pool,
                                                   const SchedulerOptions& options);
  ~Scheduler();  // every sequence ends with SequenceStatus::unavailable
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // All of these: any thread.
  Result<std::unique_ptr<Sequence>> open(SequenceOptions options);
  // A new sequence with the first `length` tokens of another one of this scheduler and of the same flow, and its plan. Their KV is
  // copied when the fork first computes, however the other one changed or ended meanwhile; when nobody has computed it yet, one relative
  // does and the others wait for it. Only when the memory for saved KV is spent it is computed again.
  Result<std::unique_ptr<Sequence>> fork(const Sequence& sequence, uint32_t length, SequenceOptions options);
  void set_flow_weight(FlowId flow, double weight);  // above 0; 1 unless set. Kept until forget_flow
  void forget_flow(FlowId flow);                     // its weight, counter and saved prefixes
  SchedulerStats stats() const;
  std::vector<FlowStats> flow_stats() const;  // at most flow_stats_age_ms old while steps are computed
  uint32_t context_tokens_max() const noexcept { return context_tokens_max_; }
  const std::shared_ptr<Model>& model() const noexcept { return model_; }

 private:
  struct Impl;
  Scheduler(std::shared_ptr<Model> model, std::unique_ptr<Impl> impl);
  std::shared_ptr<Model> model_;
  uint32_t context_tokens_max_ = 0;
  std::unique_ptr<Impl> impl_;
};

}  // namespace realm::engine
