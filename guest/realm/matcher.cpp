#include "realm/matcher.h"

#include <algorithm>

namespace realm {
namespace {

constexpr uint32_t bottom = 0;  // the frame under the root
constexpr size_t record_head_bytes = 6;
constexpr size_t texts_longest = 256;

uint64_t pair_key(uint32_t a, uint32_t b) { return uint64_t{a} << 32 | b; }

// What a model that is not held would go on with, nearly everywhere.
constexpr std::string_view usual[] = {" the", "a", "s", " ", "e", ",", ".", "1", "A", "in"};

}  // namespace

Matcher::Matcher(const Grammar& grammar) : grammar_(grammar) {
  bool begins[257] = {true};
  for (const Grammar::Edge& edge : grammar.edges) {
    if (edge.step == Grammar::Step::bytes) begins[edge.low] = begins[edge.high + 1] = true;
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    if (begins[byte]) ++classes_;
    class_of_[byte] = static_cast<uint8_t>(classes_ - 1);
  }
  frames_.push_back({0, 0, 0});
  todo_.push_back({grammar.rules[grammar.root].begin, bottom});
  close();
  current_ = intern_set();
}

uint32_t Matcher::push(uint32_t return_state, uint32_t parent) {
  const auto [entry, added] = frame_ids_.try_emplace(pair_key(return_state, parent), static_cast<uint32_t>(frames_.size()));
  if (added) frames_.push_back({return_state, parent, frames_[parent].depth + 1});
  return entry->second;
}

void Matcher::close() {
  found_.clear();
  seen_.clear();
  found_end_ = false;
  while (!todo_.empty()) {
    const Place place = todo_.back();
    todo_.pop_back();
    if (!seen_.insert(pair_key(place.state, place.stack)).second) continue;
    if (seen_.size() > grammar_ways_max) {
      gave_up_ = true;
      todo_.clear();
      found_.clear();
      return;
    }
    if (grammar_.is_end[place.state]) {
      const Frame frame = frames_[place.stack];
      place.stack == bottom ? void(found_end_ = true) : todo_.push_back({frame.return_state, frame.parent});
      continue;
    }
    bool reads = false;
    for (uint32_t i = grammar_.first_edge[place.state]; i < grammar_.first_edge[place.state + 1]; ++i) {
      const Grammar::Edge& edge = grammar_.edges[i];
      if (edge.step == Grammar::Step::bytes) {
        reads = true;
      } else if (edge.step == Grammar::Step::empty) {
        todo_.push_back({edge.target, place.stack});
      } else if (grammar_.is_tail[edge.target]) {
        todo_.push_back({grammar_.rules[edge.rule].begin, place.stack});
      } else if (frames_[place.stack].depth < grammar_depth_max) {
        todo_.push_back({grammar_.rules[edge.rule].begin, push(edge.target, place.stack)});
      }
    }
    if (reads) found_.push_back(place);
  }
}

uint32_t Matcher::intern_set() {
  std::sort(found_.begin(), found_.end(),
            [](const Place& a, const Place& b) { return pair_key(a.state, a.stack) < pair_key(b.state, b.stack); });
  uint64_t hash = found_end_ ? 1 : 0;
  for (const Place& place : found_) hash = (hash ^ pair_key(place.state, place.stack)) * 0x9E3779B97F4A7C15 + (hash >> 29);
  const auto same = [](const Place& a, const Place& b) { return a.state == b.state && a.stack == b.stack; };
  const auto [first, last] = set_ids_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    const Set& set = sets_[it->second];
    const auto begin = places_.begin() + set.first;
    if (set.may_end == found_end_ && std::equal(found_.begin(), found_.end(), begin, begin + set.count, same)) return it->second;
  }
  const auto id = static_cast<uint32_t>(sets_.size());
  sets_.push_back({static_cast<uint32_t>(places_.size()), static_cast<uint32_t>(found_.size()), found_end_, -1});
  places_.insert(places_.end(), found_.begin(), found_.end());
  steps_.resize(steps_.size() + classes_, not_known);
  set_ids_.emplace(hash, id);
  return id;
}

int32_t Matcher::step(uint32_t set, uint8_t byte) {
  const size_t index = size_t{set} * classes_ + class_of_[byte];
  if (steps_[index] != not_known) return steps_[index];
  for (uint32_t i = 0; i < sets_[set].count; ++i) {
    const Place place = places_[sets_[set].first + i];
    for (uint32_t e = grammar_.first_edge[place.state]; e < grammar_.first_edge[place.state + 1]; ++e) {
      const Grammar::Edge& edge = grammar_.edges[e];
      if (edge.step == Grammar::Step::bytes && edge.low <= byte && byte <= edge.high) todo_.push_back({edge.target, place.stack});
    }
  }
  close();
  const int32_t next = found_.empty() && !found_end_ ? refused : static_cast<int32_t>(intern_set());
  return steps_[index] = next;
}

int32_t Matcher::walk(uint32_t set, std::string_view bytes) {
  auto at = static_cast<int32_t>(set);
  for (const char byte : bytes) {
    at = step(static_cast<uint32_t>(at), static_cast<uint8_t>(byte));
    if (at == refused) break;
  }
  return at;
}

// Drops everything but the sets of `kept`, which get new numbers.
void Matcher::forget(std::span<uint32_t* const> kept) {
  struct Saved {
    std::vector<std::pair<uint32_t, std::vector<uint32_t>>> places;  // state, return states from the top of the stack on
    bool may_end;
  };
  std::unordered_map<uint32_t, Saved> saved;
  for (const uint32_t* id : kept) {
    if (saved.contains(*id)) continue;
    Saved& copy = saved[*id];
    copy.may_end = sets_[*id].may_end;
    for (uint32_t i = 0; i < sets_[*id].count; ++i) {
      const Place place = places_[sets_[*id].first + i];
      auto& returns = copy.places.emplace_back(place.state, std::vector<uint32_t>()).second;
      for (uint32_t frame = place.stack; frame != bottom; frame = frames_[frame].parent) returns.push_back(frames_[frame].return_state);
    }
  }
  frames_.resize(1);
  masks_.clear();
  frame_ids_.clear();
  places_.clear();
  sets_.clear();
  steps_.clear();
  set_ids_.clear();
  std::unordered_map<uint32_t, uint32_t> renumbered;
  for (const auto& [id, copy] : saved) {
    found_.clear();
    for (const auto& [state, returns] : copy.places) {
      uint32_t stack = bottom;
      for (size_t i = returns.size(); i-- > 0;) stack = push(returns[i], stack);
      found_.push_back({state, stack});
    }
    found_end_ = copy.may_end;
    renumbered[id] = intern_set();
  }
  for (uint32_t* id : kept) *id = renumbered[*id];
}

bool Matcher::accepts(std::string_view bytes) { return walk(current_, bytes) != refused; }

bool Matcher::advance(std::string_view bytes) {
  const int32_t next = walk(current_, bytes);
  if (next == refused) return false;
  current_ = static_cast<uint32_t>(next);
  uint32_t* const kept[] = {&current_};
  if (is_full()) forget(kept);
  return true;
}

std::string Matcher::forced_text(size_t bytes_max, bool& ends) {
  std::string text;
  uint32_t set = current_;
  while (text.size() < bytes_max && !sets_[set].may_end) {
    int only = -1;
    bool choice = false;
    for (uint32_t i = 0; i < sets_[set].count && !choice; ++i) {
      const Place place = places_[sets_[set].first + i];
      for (uint32_t e = grammar_.first_edge[place.state]; e < grammar_.first_edge[place.state + 1]; ++e) {
        const Grammar::Edge& edge = grammar_.edges[e];
        if (edge.step != Grammar::Step::bytes) continue;
        choice = choice || edge.low != edge.high || (only >= 0 && only != edge.low);
        only = edge.low;
      }
    }
    if (choice || only < 0) break;
    const int32_t next = step(set, static_cast<uint8_t>(only));
    if (next == refused) break;
    text += static_cast<char>(only);
    set = static_cast<uint32_t>(next);
  }
  ends = sets_[set].count == 0;
  return text;
}

const std::vector<uint8_t>& Matcher::allowed_tokens(std::span<const uint8_t> vocabulary, uint32_t vocabulary_tokens) {
  if (const auto known = masks_.find(current_); known != masks_.end()) return known->second;
  std::vector<uint8_t> mask((vocabulary_tokens + 7) / 8);
  std::vector<uint32_t> at(texts_longest, current_);  // by depth: the set after so many bytes of the token
  size_t live = 0;                                    // depth up to which `at` belongs to the token before
  for (size_t i = 0; i + record_head_bytes <= vocabulary.size();) {
    const uint8_t* record = vocabulary.data() + i;
    const size_t shared = record[4];
    const size_t length = record[5];
    i += record_head_bytes + length;
    if (shared > live || i > vocabulary.size()) continue;  // begins with what was refused already
    live = shared;
    for (size_t b = 0; b < length; ++b) {
      const int32_t next = step(at[live], record[record_head_bytes + b]);
      if (next == refused) break;
      at[++live] = static_cast<uint32_t>(next);
    }
    if (live == shared + length) {
      const uint32_t token = record[0] | record[1] << 8 | record[2] << 16 | uint32_t{record[3]} << 24;
      if (token < vocabulary_tokens) mask[token / 8] |= static_cast<uint8_t>(1u << (token % 8));
    }
    if (is_full()) {
      std::vector<uint32_t*> kept = {&current_};
      for (size_t depth = 0; depth <= live; ++depth) kept.push_back(&at[depth]);
      forget(kept);
    }
  }
  if (masks_.size() >= remembered_masks_max) masks_.clear();
  return masks_[current_] = std::move(mask);
}

bool Matcher::is_narrow() {
  if (sets_[current_].narrow < 0) {
    const auto accepted = std::count_if(std::begin(usual), std::end(usual), [this](std::string_view text) { return accepts(text); });
    sets_[current_].narrow = accepted * 2 < static_cast<std::ptrdiff_t>(std::size(usual)) ? 1 : 0;
  }
  return sets_[current_].narrow == 1;
}

}  // namespace realm
