#include "engine/prefill_plan.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace realm::engine {

double prefill_turn(double flow_counter) noexcept { return std::floor(flow_counter / prefill_turn_service); }

void plan_prefill(std::vector<PrefillCandidate>& candidates, uint32_t budget_tokens) {
  struct Place {
    double turn;
    uint64_t flow_arrival;  // of the flow's first
    PrefillCandidate* candidate;
  };
  std::vector<Place> order;
  order.reserve(candidates.size());
  for (auto& candidate : candidates) {
    candidate.slice = 1;
    uint64_t flow_arrival = candidate.arrival;
    for (const auto& other : candidates) {
      if (other.flow == candidate.flow) flow_arrival = std::min(flow_arrival, other.arrival);
    }
    order.push_back({prefill_turn(candidate.flow_counter), flow_arrival, &candidate});
  }
  const auto key = [](const Place& place) {
    const PrefillCandidate& one = *place.candidate;
    return std::tuple(place.turn, place.flow_arrival, one.flow, UINT8_MAX - one.priority, one.arrival);
  };
  std::ranges::sort(order, {}, key);
  const auto spent = static_cast<uint32_t>(candidates.size());
  uint32_t left = budget_tokens > spent ? budget_tokens - spent : 0;
  for (const Place& place : order) {
    const uint32_t more = std::min(place.candidate->remaining - 1, left);
    place.candidate->slice += more;
    left -= more;
  }
}

}  // namespace realm::engine
