// Which flows generate in one step together. A pure function of what the flows have in the batch and of what steps cost.
#pragma once

#include <vector>

#include "engine/decode_cost.h"
#include "engine/flow_table.h"

namespace realm::engine {

// Sets `generates_aside` of each flow by its `decode_sequences`, at least 1. Aside are those that would slow the others down by more than
// their share of the time is: with the fewest sequences for its weight first, a flow joins the step as long as the step takes no longer
// than it would if those already in it divided the time with it by weight. Where a wider step costs nothing, as on a GPU, all join.
// Changes the order of the flows.
void plan_decodes(std::vector<Flow*>& flows, const DecodeCost& cost);

}  // namespace realm::engine
