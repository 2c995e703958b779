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
  for (PrefillCandidate* candidate : order) {
    const uint32_t more = std::min(candidate->remaining - 1, left);
    candidate->slice += more;
    left -= more;
  }
}

}  // namespace realm::engine
