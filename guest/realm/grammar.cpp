#include "realm/grammar.h"

#include <algorithm>
#include <array>

namespace realm {
namespace {

constexpr uint32_t no_edge = UINT32_MAX;
constexpr uint32_t code_point_max = 0x10FFFF;

uint32_t encode(uint32_t c, std::array<uint8_t, 4>& out) {
  if (c < 0x80) {
    out[0] = static_cast<uint8_t>(c);
    return 1;
  }
  const uint32_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (uint32_t i = length - 1; i > 0; --i, c >>= 6) out[i] = static_cast<uint8_t>(0x80 | (c & 0x3F));
  out[0] = static_cast<uint8_t>((0xF00 >> length) | c);
  return length;
}

// Splits a range so that within each part every byte of the encoding has a range of its own (the idea is Ken Thompson's).
template <class Use>
void split_by_bytes(CodePoints range, const Use& use) {
  constexpr uint32_t edges[] = {0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF};  // encoded lengths, surrogates
  for (const uint32_t edge : edges) {
    if (range.low > edge || range.high <= edge) continue;
    split_by_bytes({range.low, edge}, use);
    return split_by_bytes({edge + 1, range.high}, use);
  }
  if (range.low >= 0xD800 && range.high <= 0xDFFF) return;
  if (range.high < 0x80) return use(range);
  for (uint32_t bits = 6; bits <= 18; bits += 6) {
    const uint32_t mask = (1u << bits) - 1;
    if ((range.low & ~mask) == (range.high & ~mask)) continue;
    if ((range.low & mask) != 0) {
      split_by_bytes({range.low, range.low | mask}, use);
      return split_by_bytes({(range.low | mask) + 1, range.high}, use);
    }
    if ((range.high & mask) != mask) {
      split_by_bytes({range.low, (range.high & ~mask) - 1}, use);
      return split_by_bytes({range.high & ~mask, range.high}, use);
    }
  }
  use(range);
}

}  // namespace

std::vector<CodePoints> complement(std::vector<CodePoints> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const CodePoints& a, const CodePoints& b) { return a.low < b.low; });
  std::vector<CodePoints> rest;
  uint32_t next = 0;
  for (const CodePoints& range : ranges) {
    if (range.low > next) rest.push_back({next, range.low - 1});
    next = std::max(next, range.high + 1);
  }
  if (next <= code_point_max) rest.push_back({next, code_point_max});
  return rest;
}

uint32_t GrammarBuilder::add_state() {
  if (heads_.size() >= grammar_states_max) {
    refuse("it is too large: more than " + std::to_string(grammar_states_max) + " states");
    return 0;
  }
  heads_.push_back(no_edge);
  return static_cast<uint32_t>(heads_.size() - 1);
}

void GrammarBuilder::add_edge(uint32_t from, Grammar::Edge edge) {
  if (!problem_.empty()) return;
  edges_.push_back({edge, heads_[from]});
  heads_[from] = static_cast<uint32_t>(edges_.size() - 1);
}

GrammarBuilder::Piece GrammarBuilder::empty() {
  const uint32_t state = add_state();
  return {state, state};
}

GrammarBuilder::Piece GrammarBuilder::nothing() { return {add_state(), add_state()}; }

GrammarBuilder::Piece GrammarBuilder::literal(std::string_view bytes) {
  Piece piece = empty();
  for (const char byte : bytes) {
    const uint32_t next = add_state();
    join_byte(piece.end, static_cast<uint8_t>(byte), next);
    piece.end = next;
  }
  return piece;
}

GrammarBuilder::Piece GrammarBuilder::characters(const std::vector<CodePoints>& ranges) {
  const Piece piece = nothing();
  for (const CodePoints& range : ranges) {
    if (range.low > range.high) continue;
    split_by_bytes(range, [&](CodePoints part) {
      std::array<uint8_t, 4> low{}, high{};
      const uint32_t length = encode(part.low, low);
      encode(part.high, high);
      uint32_t from = piece.begin;
      for (uint32_t i = 0; i < length; ++i) {
        const uint32_t to = i + 1 == length ? piece.end : add_state();
        add_edge(from, {to, 0, low[i], high[i], Grammar::Step::bytes});
        from = to;
      }
    });
  }
  return piece;
}

GrammarBuilder::Piece GrammarBuilder::then(Piece a, Piece b) {
  join(a.end, b.begin);
  return {a.begin, b.end};
}

GrammarBuilder::Piece GrammarBuilder::choice(const std::vector<Piece>& alternatives) {
  if (alternatives.size() == 1) return alternatives[0];
  const Piece piece = nothing();
  for (const Piece& alternative : alternatives) {
    join(piece.begin, alternative.begin);
    join(alternative.end, piece.end);
  }
  return piece;
}

GrammarBuilder::Piece GrammarBuilder::repeat(Piece piece, uint32_t times_min, uint32_t times_max) {
  if (times_min == 1 && times_max == 1) return piece;
  if (times_max == 0) return empty();
  const Piece whole = nothing();
  if (times_max == 1 || (times_min <= 1 && times_max == unlimited)) {
    join(whole.begin, piece.begin);
    join(piece.end, whole.end);
    if (times_min == 0) join(whole.begin, whole.end);
    if (times_max == unlimited) join(piece.end, piece.begin);
    return whole;
  }
  const uint32_t copies = times_max == unlimited ? times_min : times_max;
  if (copies > repetitions_max) {
    refuse("a repetition of " + std::to_string(copies) + " is more than " + std::to_string(repetitions_max));
    return nothing();
  }
  const RuleId body = rule(piece);
  uint32_t at = whole.begin;
  for (uint32_t i = 0; i < copies; ++i) {
    if (i >= times_min) join(at, whole.end);
    const uint32_t next = add_state();
    join_call(at, body, next);
    at = next;
  }
  if (times_max == unlimited) join_call(at, body, at);
  join(at, whole.end);
  return whole;
}

GrammarBuilder::RuleId GrammarBuilder::add_rule() {
  const uint32_t begin = add_state();
  rules_.push_back({begin, add_state()});
  return static_cast<RuleId>(rules_.size() - 1);
}

void GrammarBuilder::define(RuleId rule, Piece piece) {
  join(rules_[rule].begin, piece.begin);
  join(piece.end, rules_[rule].end);
}

GrammarBuilder::RuleId GrammarBuilder::rule(Piece piece) {
  const RuleId rule = add_rule();
  define(rule, piece);
  return rule;
}

GrammarBuilder::Piece GrammarBuilder::call(RuleId rule) {
  const Piece piece = nothing();
  join_call(piece.begin, rule, piece.end);
  return piece;
}

// By state: can the end of its rule be reached, over any edges, or over empty steps and rules that match the empty text?
std::vector<uint8_t> GrammarBuilder::leads_to_end(bool over_bytes) const {
  // An edge waits for its target, a call for the beginning of its rule too.
  std::vector<uint32_t> waiting_heads(heads_.size(), no_edge);
  struct Waiting {
    uint32_t state, edge, next;
  };
  std::vector<Waiting> waiting;
  const auto wait = [&](uint32_t on, uint32_t state, uint32_t edge) {
    waiting.push_back({state, edge, waiting_heads[on]});
    waiting_heads[on] = static_cast<uint32_t>(waiting.size() - 1);
  };
  for (uint32_t state = 0; state < heads_.size(); ++state) {
    for (uint32_t i = heads_[state]; i != no_edge; i = edges_[i].next) {
      const Grammar::Edge& edge = edges_[i].edge;
      if (edge.step == Grammar::Step::bytes && !over_bytes) continue;
      wait(edge.target, state, i);
      if (edge.step == Grammar::Step::call) wait(rules_[edge.rule].begin, state, i);
    }
  }
  std::vector<uint8_t> leads(heads_.size(), 0);
  std::vector<uint32_t> todo;
  for (const Grammar::Rule& rule : rules_) todo.push_back(rule.end);
  for (const uint32_t end : todo) leads[end] = 1;
  while (!todo.empty()) {
    const uint32_t reached = todo.back();
    todo.pop_back();
    for (uint32_t i = waiting_heads[reached]; i != no_edge; i = waiting[i].next) {
      const Grammar::Edge& edge = edges_[waiting[i].edge].edge;
      const bool complete = leads[edge.target] && (edge.step != Grammar::Step::call || leads[rules_[edge.rule].begin]);
      if (!complete || leads[waiting[i].state]) continue;
      leads[waiting[i].state] = 1;
      todo.push_back(waiting[i].state);
    }
  }
  return leads;
}

// Can a rule come to call itself before a byte was read? Then its stacks would grow without end. What is left after taking away, again
// and again, the rules that call no other first, is a circle.
bool GrammarBuilder::is_left_recursive(const std::vector<uint8_t>& nullable) const {
  std::vector<std::vector<RuleId>> called_by(rules_.size());
  std::vector<uint32_t> calls(rules_.size(), 0);
  std::vector<uint32_t> seen(heads_.size(), UINT32_MAX);
  for (RuleId rule = 0; rule < rules_.size(); ++rule) {
    std::vector<uint32_t> todo = {rules_[rule].begin};
    while (!todo.empty()) {
      const uint32_t state = todo.back();
      todo.pop_back();
      if (seen[state] == rule) continue;
      seen[state] = rule;
      for (uint32_t i = heads_[state]; i != no_edge; i = edges_[i].next) {
        const Grammar::Edge& edge = edges_[i].edge;
        if (edge.step == Grammar::Step::bytes) continue;
        if (edge.step == Grammar::Step::call) {
          called_by[edge.rule].push_back(rule);
          ++calls[rule];
          if (!nullable[rules_[edge.rule].begin]) continue;
        }
        todo.push_back(edge.target);
      }
    }
  }
  std::vector<RuleId> free;
  for (RuleId rule = 0; rule < rules_.size(); ++rule) {
    if (calls[rule] == 0) free.push_back(rule);
  }
  size_t removed = 0;
  while (!free.empty()) {
    const RuleId rule = free.back();
    free.pop_back();
    ++removed;
    for (const RuleId caller : called_by[rule]) {
      if (--calls[caller] == 0) free.push_back(caller);
    }
  }
  return removed < rules_.size();
}

std::optional<Grammar> GrammarBuilder::build(RuleId root) {
  if (!problem_.empty()) return {};
  const std::vector<uint8_t> productive = leads_to_end(true);
  if (!productive[rules_[root].begin]) {
    refuse("it matches no text at all");
    return {};
  }
  if (is_left_recursive(leads_to_end(false))) {
    refuse("it is left-recursive: a rule comes back to itself before it has matched anything");
    return {};
  }
  Grammar grammar;
  grammar.rules = rules_;
  grammar.root = root;
  grammar.is_end.assign(heads_.size(), 0);
  grammar.is_tail.assign(heads_.size(), 0);
  for (const Grammar::Rule& rule : rules_) grammar.is_end[rule.end] = grammar.is_tail[rule.end] = 1;
  for (uint32_t state = 0; state < heads_.size(); ++state) {
    grammar.first_edge.push_back(static_cast<uint32_t>(grammar.edges.size()));
    for (uint32_t i = heads_[state]; i != no_edge; i = edges_[i].next) {
      const Grammar::Edge& edge = edges_[i].edge;
      const bool useful = productive[edge.target] && (edge.step != Grammar::Step::call || productive[rules_[edge.rule].begin]);
      if (useful) grammar.edges.push_back(edge);
    }
  }
  grammar.first_edge.push_back(static_cast<uint32_t>(grammar.edges.size()));
  // A chain of a few empty steps is what rules end with; longer ones only cost a stack entry more.
  for (int pass = 0; pass < 4; ++pass) {
    for (uint32_t state = 0; state < heads_.size(); ++state) {
      const uint32_t first = grammar.first_edge[state];
      if (grammar.is_end[state] || grammar.first_edge[state + 1] != first + 1) continue;
      const Grammar::Edge& edge = grammar.edges[first];
      if (edge.step == Grammar::Step::empty && grammar.is_tail[edge.target]) grammar.is_tail[state] = 1;
    }
  }
  return grammar;
}

}  // namespace realm
