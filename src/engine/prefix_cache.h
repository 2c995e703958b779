// KV of ended sequences, kept for later sequences of the same flow that begin with the same tokens. Scheduler thread only.
//
// Nothing is ever found across flows, except what published_flow keeps: that, everybody finds. It has bytes of its own and is never
// evicted. When the budget is spent, the flow that holds the most gives up what it used longest ago, so
// a flow that fills the cache evicts itself.
#pragma once

#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/sequence.h"
#include "engine/state_store.h"

namespace realm::engine {

constexpr uint32_t prefix_tokens_min = 16;  // shorter ones cost less to compute than to keep
constexpr uint32_t prefixes_per_flow_max = 64;

// The store of the states that are put into it outlives it.
class PrefixCache {
 public:
  explicit PrefixCache(uint64_t published_bytes_max) : published_bytes_max_(published_bytes_max) {}

  struct Match {
    uint32_t tokens = 0;             // how many leading tokens agree
    uint32_t saved_tokens = 0;       // how many the saved state holds
    std::span<const uint8_t> state;  // valid until the next call of a non-const member
  };
  // The entry that agrees with most of `tokens`; tokens == 0 when none agrees with prefix_tokens_min.
  Match find(FlowId flow, std::span<const int32_t> tokens);

  // `state` holds exactly `tokens`. Replaces entries of the flow that it extends. False when it is not kept: too short, or too much of
  // what is published.
  bool insert(FlowId flow, std::vector<int32_t> tokens, SavedState state);

  // Gives up the least valuable entry; false when there is none that may go.
  bool evict_one();
  void forget(FlowId flow);

 private:
  struct Entry {
    std::vector<int32_t> tokens;
    SavedState state;
  };
  struct Flow {
    std::list<Entry> entries;  // most recently used first
    uint64_t bytes = 0;
  };
  struct Best {
    Flow* flow = nullptr;
    std::list<Entry>::iterator entry;
    uint32_t length = prefix_tokens_min - 1;
  };
  void look_through(FlowId flow, std::span<const int32_t> tokens, Best& best);
  void erase(FlowId flow, std::list<Entry>::iterator entry);

  const uint64_t published_bytes_max_;
  std::unordered_map<FlowId, Flow> flows_;
};

}  // namespace realm::engine
