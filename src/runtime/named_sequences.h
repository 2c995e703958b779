// Sequences of one model that programs have saved under a name. Each belongs to a flow, and no other flow finds it.
//
// They are dormant forks: their tokens stay until the name is erased, the flow forgotten or the model unloaded; their KV stays while
// the scheduler has room for it, else it is computed again by who loads them. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "engine/sequence.h"

namespace realm::runtime {

constexpr uint32_t saved_name_bytes_max = 128;

class NamedSequences {
 public:
  // Replaces what has the name. False when the flow would then hold more than `sequences_max` or more than `tokens_max`.
  bool put(engine::FlowId flow, std::string_view name, std::shared_ptr<engine::Sequence> sequence, uint32_t sequences_max,
           uint64_t tokens_max);
  // Null when there is none.
  std::shared_ptr<engine::Sequence> find(engine::FlowId flow, std::string_view name) const;
  bool erase(engine::FlowId flow, std::string_view name);
  void forget(engine::FlowId flow);

 private:
  using Key = std::pair<engine::FlowId, std::string>;
  mutable std::mutex mutex_;
  std::map<Key, std::shared_ptr<engine::Sequence>> sequences_;  // guarded; those of a flow lie together
};

}  // namespace realm::runtime
