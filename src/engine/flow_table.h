// Fair shares between flows: Virtual Token Counter (arXiv 2401.00588). Scheduler thread only.
//
// Each flow's counter grows with the service it gets, divided by its weight: of the time of each step that its tokens were in, its share,
// an input token counting 1 and an output token 2, in units of what a prompt token takes. Tokens alone would not do: one at position
// 2,000 takes three times as long as one at the beginning. The flow with the smallest counter goes first. A flow that comes back from idle
// is lifted to a little less than the smallest counter among the busy ones: nobody saves up a claim by staying away, but who only pauses
// between requests keeps the place that a flood of others' would take.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/sequence.h"

namespace realm::engine {

constexpr double over_served_service = 1'024;  // this much more service than the least served busy flow, and a flow is over-served

constexpr double returning_credit = 2 * over_served_service;  // how far below the busy ones a flow may come back

struct Flow {
  FlowId id = 0;
  double weight = 1;
  double counter = -returning_credit;  // one that was never seen comes back from idle
  uint32_t busy_sequences = 0;         // waiting for admission or active
  uint32_t open_sequences = 0;
  bool weight_was_set = false;

  void charge(double service) noexcept { counter += service / weight; }
};

constexpr int64_t pause_ns_max = 1'000'000'000;  // a flow that is idle for so long has left

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

  // Others that are busy, or were a moment ago, have had clearly less than this one: its prompts then get no more than its share of
  // the time.
  bool is_over_served(const Flow& flow) const noexcept;
  // Whether `running` would be over-served the moment that `id` becomes busy.
  bool would_be_over_served(const Flow& running, FlowId id) const noexcept;

 private:
  void erase_if_unused(Flow& flow);
  struct Recent {
    FlowId id;
    double counter;
    int64_t until_ns;
  };
  std::vector<Recent> recent_;              // idle for less than pause_ns_max: they will be back
  std::unordered_map<FlowId, Flow> flows_;  // node-based: references stay valid
  std::vector<Flow*> busy_;
  double floor_ = 0;  // what a returning flow is lifted to: the smallest busy counter, or the last one that went idle
};

}  // namespace realm::engine
