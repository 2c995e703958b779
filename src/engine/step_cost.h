// What steps of a model have cost on this machine, to plan the next one by. Scheduler thread only.
#pragma once

#include <cstdint>

#include "engine/decode_cost.h"

namespace realm::engine {

class StepCost {
 public:
  // A step of `decode_tokens` sequences generating and `prefill_tokens` prompt tokens took `ns`.
  void observe(uint32_t decode_tokens, uint32_t prefill_tokens, int64_t ns) noexcept;
  // A step aside, of `prefill_tokens` of one prompt or of `decode_tokens` sequences generating, took `ns`.
  void observe_aside(uint32_t decode_tokens, uint32_t prefill_tokens, int64_t ns) noexcept;

  // Prompt tokens that fit beside `decode_tokens` within `target_ns`, or within as much time again as the decodes take, whichever is more:
  // where a step alone is longer than the target, prompts would not get on. Between prefill_slice_tokens_min and `tokens_max`.
  uint32_t prefill_budget(uint32_t decode_tokens, int64_t target_ns, uint32_t tokens_max) const noexcept;
  // Tokens of a prompt that was set aside that take `ns`; between 1 and `tokens_max`.
  uint32_t aside_tokens_within(double ns, uint32_t tokens_max) const noexcept;

  const DecodeCost& decodes() const noexcept { return decodes_; }
  // The service that `ns` of computing are, in prompt tokens that could have been computed instead; `tokens` before anything is known.
  double service(int64_t ns, double tokens) const noexcept;

  static constexpr uint32_t prefill_slice_tokens_min = 16;

 private:
  DecodeCost decodes_;
  // Exponential averages; 0 until first seen.
  double prefill_token_ns_ = 0;
  double aside_token_ns_ = 0;  // small slices at long contexts: several times the other
};

}  // namespace realm::engine
