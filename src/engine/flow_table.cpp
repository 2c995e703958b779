#include "engine/flow_table.h"

#include <algorithm>

#include "base/clock.h"

namespace realm::engine {

Flow& FlowTable::open(FlowId id) {
  Flow& flow = flows_[id];
  flow.id = id;
  ++flow.open_sequences;
  return flow;
}

void FlowTable::close(Flow& flow) {
  --flow.open_sequences;
  erase_if_unused(flow);
}

void FlowTable::set_weight(FlowId id, double weight) {
  Flow& flow = flows_[id];
  flow.id = id;
  flow.weight = weight;
  flow.weight_was_set = true;
}

void FlowTable::forget(FlowId id) {
  const auto found = flows_.find(id);
  if (found == flows_.end()) return;
  found->second.weight_was_set = false;
  erase_if_unused(found->second);
}

void FlowTable::begin_busy(Flow& flow) {
  if (flow.busy_sequences++ > 0) return;
  std::erase_if(recent_, [&flow, now = monotonic_ns()](const Recent& one) { return one.id == flow.id || one.until_ns < now; });
  if (!busy_.empty()) {
    const auto smallest =
        std::min_element(busy_.begin(), busy_.end(), [](const Flow* a, const Flow* b) { return a->counter < b->counter; });
    floor_ = std::max(floor_, (*smallest)->counter);
  }
  flow.counter = std::max(flow.counter, floor_ - credit(flow));
  busy_.push_back(&flow);
}

void FlowTable::end_busy(Flow& flow) {
  if (--flow.busy_sequences > 0) return;
  flow.pending_tokens = 0;
  std::erase(busy_, &flow);
  recent_.push_back({flow.id, flow.counter, monotonic_ns() + pause_ns_max});
  if (busy_.empty()) floor_ = std::max(floor_, flow.counter);
}

bool FlowTable::is_over_served(const Flow& flow) const noexcept {
  const double most = flow.counter - over_served_service;
  const double most_demand = flow.demand() - flood_demand;
  const auto less = [&](const Flow* other) { return other->counter < most || other->demand() < most_demand; };
  if (std::any_of(busy_.begin(), busy_.end(), less)) return true;
  if (recent_.empty()) return false;
  const int64_t now = monotonic_ns();
  return std::any_of(recent_.begin(), recent_.end(),
                     [&](const Recent& one) { return one.until_ns > now && one.id != flow.id && one.counter < most; });
}

bool FlowTable::would_be_over_served(const Flow& running, FlowId id, uint32_t pending_tokens) const noexcept {
  if (id == running.id) return false;
  const auto found = flows_.find(id);
  const Flow newcomer = found == flows_.end() ? Flow{} : found->second;
  const double counter = std::max(newcomer.counter, std::max(floor_, running.counter) - credit(newcomer));
  const double demand = counter + pending_tokens / newcomer.weight;
  return counter < running.counter - over_served_service || demand < running.demand() - flood_demand;
}

void FlowTable::clear_pending() noexcept {
  for (Flow* flow : busy_) flow->pending_tokens = 0;
}

void FlowTable::erase_if_unused(Flow& flow) {
  if (flow.open_sequences == 0 && flow.busy_sequences == 0 && !flow.weight_was_set) flows_.erase(flow.id);
}

}  // namespace realm::engine
