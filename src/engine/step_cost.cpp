#include "engine/step_cost.h"

#include <algorithm>
#include <cmath>

namespace realm::engine {
namespace {

constexpr double weight_of_new = 0.2;
constexpr double weight_of_new_aside = 0.5;  // it changes fast, with the length of the slice and of what lies before it

void average(double& value, double observed, double weight) noexcept {
  value = value == 0 ? observed : value + weight * (observed - value);
}

}  // namespace

void StepCost::observe(uint32_t decode_tokens, uint32_t prefill_tokens, int64_t ns) noexcept {
  const auto cost = static_cast<double>(ns);
  if (prefill_tokens == 0) {
    if (decode_tokens == 0) return;  // what there was has failed
    decodes_.observe(decode_tokens, ns);
  } else if (prefill_tokens >= prefill_slice_tokens_min) {
    const double rest = decode_tokens > 0 ? std::max(cost - decodes_.step_ns(decode_tokens), cost * 0.1) : cost;
    average(prefill_token_ns_, rest / prefill_tokens, weight_of_new);
  }
}

void StepCost::observe_aside(uint32_t decode_tokens, uint32_t prefill_tokens, int64_t ns) noexcept {
  if (prefill_tokens == 0) {
    decodes_.observe(decode_tokens, ns);
  } else if (decode_tokens == 0) {
    average(aside_token_ns_, static_cast<double>(ns) / prefill_tokens, weight_of_new_aside);
  }
}

uint32_t StepCost::prefill_budget(uint32_t decode_tokens, int64_t target_ns, uint32_t tokens_max) const noexcept {
  if (decode_tokens == 0 || prefill_token_ns_ == 0) return tokens_max;
  const double decode_ns = decodes_.step_ns(decode_tokens);
  const double room = std::max(static_cast<double>(target_ns) - decode_ns, decode_ns) / prefill_token_ns_;
  const double most = std::max<double>(tokens_max, prefill_slice_tokens_min);
  return static_cast<uint32_t>(std::clamp<double>(room, prefill_slice_tokens_min, most));
}

uint32_t StepCost::aside_tokens_within(double ns, uint32_t tokens_max) const noexcept {
  if (aside_token_ns_ == 0) return 1;
  // It may have been seen long ago, of shorter prompts; the others were just now.
  return static_cast<uint32_t>(std::clamp<double>(std::round(ns / std::max(aside_token_ns_, prefill_token_ns_)), 1, tokens_max));
}

double StepCost::service(int64_t ns, double tokens) const noexcept {
  return prefill_token_ns_ > 0 ? static_cast<double>(ns) / prefill_token_ns_ : tokens;
}

}  // namespace realm::engine
