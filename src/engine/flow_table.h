// Fair shares between flows: Virtual Token Counter (arXiv 2401.00588). Scheduler thread only.
//
// Each flow's counter grows with the service it gets, divided by its weight: of the time of each step that its tokens were in, its share,
// an input token counting 1 and an output token 2, in units of what a prompt token takes. Tokens alone would not do: one at position
// 2,000 takes three times as long as one at the beginning. The flow with the smallest counter goes first. A flow that comes back from idle
// is lifted to a little less than the smallest counter among the busy ones: nobody saves up a claim by staying away, but who only pauses
// between requests keeps the place that a flood of others' would take.
#pragma once

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/sequence.h"

namespace realm::engine {

constexpr double over_served_service = 1'024;  // this much more service than the least served busy flow, and a flow is over-served
constexpr double flood_demand = 4'096;         // the same, with what it asks for: more than a single long prompt

constexpr double active_sequence_service = 128;  // a short request's worth

// How much service a flow that comes back may have before the busy ones; of a weight below 1, that share of it.
constexpr double returning_credit = 2 * over_served_service;

struct Flow {
  FlowId id = 0;
  double weight = 1;
  double counter = -returning_credit;  // one that was never seen comes back from idle
  uint32_t busy_sequences = 0;         // waiting for admission or active
  uint32_t open_sequences = 0;
  uint32_t active_sequences = 0;  // in the batch
  double pending_tokens = 0;      // of its prompts, in the batch or waiting, that are still to compute
  uint32_t decode_sequences = 0;  // of the active ones, that generate or will soon; this and the next two are for turns.cpp
  bool generates_aside = false;   // not in the step of the others
  bool generated_last = false;    // in its last step aside; otherwise it computed a prompt
  bool weight_was_set = false;

  void charge(double service) noexcept { counter += service / weight; }
  // What the counter will be when the prompts that are there have been computed.
  double demand() const noexcept { return counter + pending_tokens / weight; }
  // The counter with something for work that is in the batch and not charged yet: without it, one flow takes every place that is free
  // until its first steps are charged, and shares swing about the weights.
  double claim() const noexcept { return counter + active_sequences * active_sequence_service / weight; }
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

  // Others that are busy, or were a moment ago, have had clearly less than this one, or it asks for very much more: its prompts then get
  // no more than its share of the time. Asking counts so that a flood is known before it has cost anybody anything.
  bool is_over_served(const Flow& flow) const noexcept;
  // Whether `running` would be over-served the moment that `id` becomes busy with prompts of `pending_tokens`.
  bool would_be_over_served(const Flow& running, FlowId id, uint32_t pending_tokens) const noexcept;
  // Of all flows; the scheduler counts anew before each step.
  void clear_pending() noexcept;

 private:
  void erase_if_unused(Flow& flow);
  static double credit(const Flow& flow) noexcept { return returning_credit / std::max(flow.weight, 1.0); }
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
