#include "engine/decode_plan.h"

#include <algorithm>

namespace realm::engine {
namespace {

constexpr double tolerance = 1.1;  // of what a step costs, which is an estimate: who is at the border does not go to and fro

}  // namespace

void plan_decodes(std::vector<Flow*>& flows, const DecodeCost& cost) {
  std::sort(flows.begin(), flows.end(), [](const Flow* a, const Flow* b) {
    const double of_a = a->decode_sequences / a->weight;
    const double of_b = b->decode_sequences / b->weight;
    return of_a != of_b ? of_a < of_b : a->id < b->id;
  });
  uint32_t sequences = 0;
  double weight = 0;
  bool aside = false;
  for (Flow* flow : flows) {
    const double alone_ns = cost.step_ns(sequences);
    sequences += flow->decode_sequences;
    aside = aside || (weight > 0 && cost.step_ns(sequences) > tolerance * alone_ns * (weight + flow->weight) / weight);
    flow->generates_aside = aside;
    weight += flow->weight;
  }
}

}  // namespace realm::engine
