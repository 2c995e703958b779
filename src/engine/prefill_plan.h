// How many prompt tokens of which sequence go into one step. Pure functions.
#pragma once

#include <cstdint>
#include <vector>

namespace realm::engine {

// Flows take turns of so much service for their weight, in tokens of prompts: in smaller ones, prompts that come together would all be
// ready only when the last of them is.
constexpr double prefill_turn_service = 256;

// Which turn a flow of this counter is at; smaller goes first.
double prefill_turn(double flow_counter) noexcept;

struct PrefillCandidate {
  uint32_t remaining = 0;  // tokens not yet computed, at least 1
  double flow_counter = 0;
  uint8_t priority = 0;  // within one flow, larger goes first
  uint64_t arrival = 0;  // then the older
  uint64_t flow = 0;
  uint32_t slice = 0;  // the answer
};

// Fills every slice. Each candidate gets at least one token, since a sequence without a token would be a gap in the dense range of
// streams and cost a whole pass over the weights; the rest of `budget_tokens` goes to the flows in order of their turns, and of flows
// at the same turn to the one whose prompts began to come first.
void plan_prefill(std::vector<PrefillCandidate>& candidates, uint32_t budget_tokens);

}  // namespace realm::engine
