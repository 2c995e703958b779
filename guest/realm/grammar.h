// A context-free grammar over bytes: what an answer may be. Built from pieces, then immutable.
//
// Each rule is a small automaton whose edges are ranges of bytes, empty steps, or calls of rules. Characters become their UTF-8 bytes
// here, so that a token that ends within a character needs no care later.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace realm {

constexpr uint32_t grammar_states_max = 400'000;
constexpr uint32_t repetitions_max = 20'000;  // of one piece, spelt out
constexpr uint32_t unlimited = UINT32_MAX;

struct CodePoints {
  uint32_t low;
  uint32_t high;  // inclusive
};

// The characters that are not in `ranges`; surrogates are no characters.
std::vector<CodePoints> complement(std::vector<CodePoints> ranges);

struct Grammar {
  enum class Step : uint8_t { bytes, empty, call };
  struct Edge {
    uint32_t target;  // of a call: where it returns to
    uint32_t rule;    // of a call
    uint8_t low, high;
    Step step;
  };
  struct Rule {
    uint32_t begin, end;  // nothing leaves `end`
  };
  std::vector<uint32_t> first_edge;  // by state, one more than there are states
  std::vector<Edge> edges;           // none from which the end cannot be reached
  std::vector<Rule> rules;
  std::vector<uint8_t> is_end;   // by state: the end of a rule
  std::vector<uint8_t> is_tail;  // by state: nothing but empty steps lead from it, to the end of its rule
  uint32_t root = 0;
};

// Beyond a limit, and for what cannot be, a piece is nothing and problem() says why.
class GrammarBuilder {
 public:
  struct Piece {
    uint32_t begin, end;
  };
  using RuleId = uint32_t;

  // A piece belongs to the one that it becomes a part of; use it once.
  Piece empty();
  Piece nothing();  // matches no text at all
  Piece literal(std::string_view bytes);
  Piece characters(const std::vector<CodePoints>& ranges);
  Piece then(Piece a, Piece b);
  Piece choice(const std::vector<Piece>& alternatives);
  Piece repeat(Piece piece, uint32_t times_min, uint32_t times_max);
  Piece optional(Piece piece) { return repeat(piece, 0, 1); }

  RuleId add_rule();
  void define(RuleId rule, Piece piece);
  RuleId rule(Piece piece);
  Piece call(RuleId rule);

  // For automata that the pieces above cannot express.
  uint32_t add_state();
  void join(uint32_t from, uint32_t to) { add_edge(from, {to, 0, 0, 0, Grammar::Step::empty}); }
  void join_call(uint32_t from, RuleId rule, uint32_t to) { add_edge(from, {to, rule, 0, 0, Grammar::Step::call}); }
  void join_byte(uint32_t from, uint8_t byte, uint32_t to) { add_edge(from, {to, 0, byte, byte, Grammar::Step::bytes}); }

  void refuse(std::string why) {
    if (problem_.empty()) problem_ = std::move(why);
  }
  const std::string& problem() const { return problem_; }

  // Empty when there was a problem, the grammar is left-recursive, or it matches nothing; problem() says which.
  std::optional<Grammar> build(RuleId root);

 private:
  struct ListedEdge {
    Grammar::Edge edge;
    uint32_t next;  // of the same state, no_edge at the end
  };
  void add_edge(uint32_t from, Grammar::Edge edge);
  std::vector<uint8_t> leads_to_end(bool over_bytes) const;
  bool is_left_recursive(const std::vector<uint8_t>& nullable) const;

  std::vector<uint32_t> heads_;  // by state
  std::vector<ListedEdge> edges_;
  std::vector<Grammar::Rule> rules_;
  std::string problem_;
};

}  // namespace realm
