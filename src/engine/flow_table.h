// Fair shares between flows: Virtual Token Counter (arXiv 2401.00588). Scheduler thread only.
//
// Each flow's counter grows with the service it gets, an input token counting 1 and an output token 2, divided by its weight. The
// flow with the smallest counter goes first. A flow that comes back from idle is lifted to the smallest counter among the busy
// ones, so that nobody saves up a claim by staying away.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/sequence.h"

namespace realm::engine {

constexpr double input_token_cost = 1.0;
constexpr double output_token_cost = 2.0;
constexpr double over_served_service = 1'024;  // this much more service than the least served busy flow, and a flow is over-served

struct Flow {
  FlowId id = 0;
  double weight = 1;
  double counter = 0;
  uint32_t busy_sequences = 0;  // waiting for admission or active
  uint32_t open_sequences = 0;
  bool weight_was_set = false;

  void charge_input(uint32_t tokens) noexcept { counter += input_token_cost * tokens / weight; }
  void charge_output(uint32_t tokens) noexcept { counter += output_token_cost * tokens / weight; }
};

class FlowTable {
 public:
  // A reference that stays valid until the flow is released for the last time.
  Flow& open(FlowId id);
  void close(Flow& flow);
  void set_weight(FlowId id, double weight);
  void forget(FlowId id);

  // Around the time in which a sequence of the flow waits or computes.
  void begin_busy(Flow& flow);
  void end_busy(Flow& flow);

  // Others that are busy have had clearly less than this one: its prompts then get no more than its share of the time.
  bool is_over_served(const Flow& flow) const noexcept;

 private:
  void erase_if_unused(Flow& flow);
  std::unordered_map<FlowId, Flow> flows_;  // node-based: references stay valid
  std::vector<Flow*> busy_;
  double floor_ = 0;  // what a returning flow is lifted to: the smallest busy counter, or the last one that went idle
};

}  // namespace realm::engine
