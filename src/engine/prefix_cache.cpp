#include "engine/prefix_cache.h"

#include <algorithm>
#include <iterator>

namespace realm::engine {
namespace {

uint32_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  const auto length = std::min(a.size(), b.size());
  return static_cast<uint32_t>(std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(length), b.begin()).first - a.begin());
}

}  // namespace

PrefixCache::Match PrefixCache::find(FlowId flow, std::span<const int32_t> tokens) {
  const auto found = flows_.find(flow);
  if (found == flows_.end()) return {};
  auto& entries = found->second.entries;
  auto best = entries.end();
  uint32_t best_length = prefix_tokens_min - 1;
  for (auto it = entries.begin(); it != entries.end(); ++it) {
    const uint32_t length = common_prefix(it->tokens, tokens);
    if (length > best_length) {
      best = it;
      best_length = length;
    }
  }
  if (best == entries.end()) return {};
  entries.splice(entries.begin(), entries, best);
  return {best_length, static_cast<uint32_t>(best->tokens.size()), best->state.bytes()};
}

void PrefixCache::insert(FlowId id, std::vector<int32_t> tokens, SavedState state) {
  if (tokens.size() < prefix_tokens_min || !state) return;
  auto& flow = flows_[id];
  for (auto it = flow.entries.begin(); it != flow.entries.end();) {
    const auto next = std::next(it);
    if (common_prefix(it->tokens, tokens) == it->tokens.size()) {
      flow.bytes -= it->state.bytes().size();
      flow.entries.erase(it);
    }
    it = next;
  }
  flow.bytes += state.bytes().size();
  flow.entries.push_front({std::move(tokens), std::move(state)});
  if (flow.entries.size() > prefixes_per_flow_max) erase(id, std::prev(flow.entries.end()));
}

bool PrefixCache::evict_one() {
  const auto largest =
      std::max_element(flows_.begin(), flows_.end(), [](const auto& a, const auto& b) { return a.second.bytes < b.second.bytes; });
  if (largest == flows_.end()) return false;
  erase(largest->first, std::prev(largest->second.entries.end()));
  return true;
}

void PrefixCache::forget(FlowId flow) { flows_.erase(flow); }

void PrefixCache::erase(FlowId id, std::list<Entry>::iterator entry) {
  const auto flow = flows_.find(id);
  flow->second.bytes -= entry->state.bytes().size();
  flow->second.entries.erase(entry);
  if (flow->second.entries.empty()) flows_.erase(flow);
}

}  // namespace realm::engine
