#include "runtime/named_sequences.h"

namespace realm::runtime {

bool NamedSequences::put(engine::FlowId flow, std::string_view name, std::shared_ptr<engine::Sequence> sequence, uint32_t sequences_max,
                         uint64_t tokens_max) {
  const Key key(flow, name);
  std::lock_guard lock(mutex_);
  uint32_t count = 1;
  uint64_t tokens = sequence->length();
  for (auto it = sequences_.lower_bound({flow, {}}); it != sequences_.end() && it->first.first == flow; ++it) {
    if (it->first == key) continue;
    ++count;
    tokens += it->second->length();
  }
  if (count > sequences_max || tokens > tokens_max) return false;
  sequences_.insert_or_assign(key, std::move(sequence));
  return true;
}

std::shared_ptr<engine::Sequence> NamedSequences::find(engine::FlowId flow, std::string_view name) const {
  std::lock_guard lock(mutex_);
  const auto found = sequences_.find(Key(flow, name));
  return found == sequences_.end() ? nullptr : found->second;
}

bool NamedSequences::erase(engine::FlowId flow, std::string_view name) {
  std::lock_guard lock(mutex_);
  return sequences_.erase(Key(flow, name)) > 0;
}

void NamedSequences::forget(engine::FlowId flow) {
  std::lock_guard lock(mutex_);
  sequences_.erase(sequences_.lower_bound({flow, {}}), sequences_.lower_bound({flow + 1, {}}));
}

}  // namespace realm::runtime
