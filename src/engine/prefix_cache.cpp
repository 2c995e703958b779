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

void PrefixCache::look_through(FlowId id, std::span<const int32_t> tokens, Best& best) {
  const auto flow = flows_.find(id);
  if (flow == flows_.end()) return;
  auto& entries = flow->second.entries;
  for (auto it = entries.begin(); it != entries.end(); ++it) {
    // An entry that agrees with more has the same token where the best one ends; few others do.
    if (it->tokens.size() <= best.length || tokens.size() <= best.length || it->tokens[best.length] != tokens[best.length]) continue;
    const uint32_t length = common_prefix(it->tokens, tokens);
    if (length > best.length) best = {&flow->second, it, length};
  }
}

PrefixCache::Match PrefixCache::find(FlowId flow, std::span<const int32_t> tokens) {
  Best best;
  look_through(flow, tokens, best);
  if (flow != published_flow) look_through(published_flow, tokens, best);
  if (best.flow == nullptr) return {};
  auto& entries = best.flow->entries;
  entries.splice(entries.begin(), entries, best.entry);
  return {best.length, static_cast<uint32_t>(best.entry->tokens.size()), best.entry->state.bytes()};
}

bool PrefixCache::insert(FlowId id, std::vector<int32_t> tokens, SavedState state) {
  if (tokens.size() < prefix_tokens_min || !state) return false;
  if (id == published_flow && flows_[id].bytes + state.bytes().size() > published_bytes_max_) return false;
  auto& flow = flows_[id];
  for (auto it = flow.entries.begin(); it != flow.entries.end();) {
    const auto next = std::next(it);
    const size_t length = it->tokens.size();
    const bool may_extend = length <= tokens.size() && it->tokens.back() == tokens[length - 1];
    if (may_extend && common_prefix(it->tokens, tokens) == length) {
      flow.bytes -= it->state.bytes().size();
      flow.entries.erase(it);
    }
    it = next;
  }
  flow.bytes += state.bytes().size();
  flow.entries.push_front({std::move(tokens), std::move(state)});
  if (flow.entries.size() > prefixes_per_flow_max) erase(id, std::prev(flow.entries.end()));
  return true;
}

bool PrefixCache::evict_one() {
  const auto may_lose = [](const auto& flow) { return flow.first == published_flow ? 0 : flow.second.bytes; };
  const auto largest =
      std::max_element(flows_.begin(), flows_.end(), [&](const auto& a, const auto& b) { return may_lose(a) < may_lose(b); });
  if (largest == flows_.end() || may_lose(*largest) == 0) return false;
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
