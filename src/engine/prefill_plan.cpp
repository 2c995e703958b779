#include "engine/prefill_plan.h"

#include <algorithm>

namespace realm::engine {

void plan_prefill(std::vector<PrefillCandidate>& candidates, uint32_t budget_tokens) {
  std::vector<PrefillCandidate*> order;
  order.reserve(candidates.size());
  for (auto& candidate : candidates) {
    candidate.slice = 1;
    order.push_back(&candidate);
  }
  std::sort(order.begin(), order.end(), [](const PrefillCandidate* a, const PrefillCandidate* b) {
    if (a->flow != b->flow && a->flow_counter != b->flow_counter) return a->flow_counter < b->flow_counter;
    if (a->flow == b->flow && a->priority != b->priority) return a->priority > b->priority;
    return a->arrival < b->arrival;
  });
  const auto spent = static_cast<uint32_t>(candidates.size());
  uint32_t left = budget_tokens > spent ? budget_tokens - spent : 0;
  const bool only_over_served =
      std::all_of(candidates.begin(), candidates.end(), [](const PrefillCandidate& one) { return one.over_served; });
  for (PrefillCandidate* candidate : order) {
    if (candidate->over_served && !only_over_served) continue;
    const uint32_t more = std::min(candidate->remaining - 1, left);
    candidate->slice += more;
    left -= more;
  }
}

namespace {
constexpr double weight_of_new = 0.2;

void average(double& value, double observed) noexcept { value = value == 0 ? observed : value + weight_of_new * (observed - value); }
}  // namespace

void StepCost::observe(uint32_t decode_tokens, uint32_t prefill_tokens, int64_t ns) noexcept {
  const auto cost = static_cast<double>(ns);
  if (prefill_tokens == 0) {
    average(decode_step_ns_, cost);
  } else if (prefill_tokens >= prefill_slice_tokens_min) {
    const double rest = decode_tokens > 0 ? std::max(cost - decode_step_ns_, cost * 0.1) : cost;
    average(prefill_token_ns_, rest / prefill_tokens);
  } else if (decode_tokens > 0) {
    average(small_slice_token_ns_, std::max(cost - decode_step_ns_, cost * 0.1) / prefill_tokens);
  }
}

uint32_t StepCost::shared_budget(double share, uint32_t tokens_max) const noexcept {
  const double token_ns = small_slice_token_ns_ > 0 ? small_slice_token_ns_ : prefill_token_ns_;
  if (token_ns == 0 || decode_step_ns_ == 0) return 1;
  return static_cast<uint32_t>(std::clamp<double>(decode_step_ns_ * share / token_ns, 1, tokens_max));
}

uint32_t StepCost::prefill_budget(uint32_t decode_tokens, int64_t target_ns, uint32_t tokens_max) const noexcept {
  if (decode_tokens == 0 || prefill_token_ns_ == 0) return tokens_max;
  const double room = (static_cast<double>(target_ns) - decode_step_ns_) / prefill_token_ns_;
  const double most = std::max<double>(tokens_max, prefill_slice_tokens_min);
  return static_cast<uint32_t>(std::clamp<double>(room, prefill_slice_tokens_min, most));
}

}  // namespace realm::engine
