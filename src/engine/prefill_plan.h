// How many prompt tokens of which sequence go into one step. Pure functions.
#pragma once

#include <cstdint>
#include <vector>

namespace realm::engine {

struct PrefillCandidate {
  uint32_t remaining = 0;   // tokens not yet computed, at least 1
  double flow_counter = 0;  // smaller goes first
  uint8_t priority = 0;     // within one flow, larger goes first
  uint64_t arrival = 0;     // then the older
  uint64_t flow = 0;
  bool over_served = false;  // its flow is: nothing of the budget while others' prompts want it
  uint32_t slice = 0;        // the answer
};

// Fills every slice. Each candidate gets at least one token, since a sequence without a token would be a gap in the dense range of
// streams and cost a whole pass over the weights; the rest of `budget_tokens` goes to the flows in order of their counters.
void plan_prefill(std::vector<PrefillCandidate>& candidates, uint32_t budget_tokens);

// What the last steps cost, to keep the next one within the inter-token target.
class StepCost {
 public:
  // A step of `decode_tokens` sequences generating and `prefill_tokens` prompt tokens took `ns`.
  void observe(uint32_t decode_tokens, uint32_t prefill_tokens, int64_t ns) noexcept;
  // Prompt tokens that take `share` times as long as a step of the generating sequences alone; at least 1.
  uint32_t shared_budget(double share, uint32_t tokens_max) const noexcept;
  // Prompt tokens that fit beside `decode_tokens` within `target_ns`; between prefill_slice_tokens_min and `tokens_max`.
  uint32_t prefill_budget(uint32_t decode_tokens, int64_t target_ns, uint32_t tokens_max) const noexcept;

  static constexpr uint32_t prefill_slice_tokens_min = 16;

 private:
  // Exponential averages; 0 until first seen.
  double decode_step_ns_ = 0;
  double prefill_token_ns_ = 0;
  double small_slice_token_ns_ = 0;  // of slices below prefill_slice_tokens_min: a token costs more there
};

}  // namespace realm::engine
