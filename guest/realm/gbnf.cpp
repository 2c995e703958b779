#include "realm/gbnf.h"

#include <map>
#include <string>

#include "realm/pattern_text.h"

namespace realm {
namespace {

using Piece = GrammarBuilder::Piece;

bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; }

class GbnfParser {
 public:
  GbnfParser(GrammarBuilder& builder, std::string_view source) : builder_(builder), text_(source) {}

  GrammarBuilder::RuleId parse() {
    skip_space(true);
    while (text_.more() && sound()) parse_rule();
    for (const auto& [name, rule] : rules_) {
      if (!rule.defined) refuse("the rule '" + name + "' is used but not defined");
    }
    const auto root = rules_.find("root");
    if (root == rules_.end()) {
      refuse("there is no rule 'root'");
      return builder_.add_rule();
    }
    return root->second.id;
  }

 private:
  struct NamedRule {
    GrammarBuilder::RuleId id;
    bool defined = false;
  };

  bool sound() const { return builder_.problem().empty(); }
  void refuse(const std::string& why) { builder_.refuse(why + " (line " + std::to_string(text_.line()) + ")"); }

  void skip_space(bool across_lines) {
    while (text_.more()) {
      const char c = text_.peek();
      if (c == '#') {
        while (text_.more() && text_.peek() != '\n') text_.skip();
      } else if (c == ' ' || c == '\t' || (across_lines && (c == '\n' || c == '\r'))) {
        text_.skip();
      } else {
        return;
      }
    }
  }

  std::string parse_name() {
    std::string name;
    while (text_.more() && is_word(text_.peek())) name += text_.take();
    if (name.empty()) refuse("a name is expected");
    return name;
  }

  NamedRule& rule_named(const std::string& name) {
    const auto found = rules_.find(name);
    if (found != rules_.end()) return found->second;
    if (rules_.size() >= gbnf_rules_max) refuse("more than " + std::to_string(gbnf_rules_max) + " rules");
    return rules_[name] = {builder_.add_rule(), false};
  }

  void parse_rule() {
    const std::string name = parse_name();
    skip_space(false);
    if (!text_.accept("::=")) return refuse("::= is expected after '" + name + "'");
    skip_space(true);
    const Piece piece = parse_alternatives(0);
    if (!sound()) return;
    if (text_.more() && text_.peek() != '\n' && text_.peek() != '\r') return refuse("unexpected '" + std::string(1, text_.peek()) + "'");
    NamedRule& rule = rule_named(name);
    if (rule.defined) return refuse("the rule '" + name + "' is defined twice");
    rule.defined = true;
    builder_.define(rule.id, piece);
    skip_space(true);
  }

  Piece parse_alternatives(uint32_t nesting) {
    if (nesting > pattern_nesting_max) refuse("groups are nested deeper than " + std::to_string(pattern_nesting_max));
    std::vector<Piece> alternatives = {parse_sequence(nesting)};
    while (sound() && text_.accept("|")) {
      skip_space(true);
      alternatives.push_back(parse_sequence(nesting));
    }
    return builder_.choice(alternatives);
  }

  Piece parse_sequence(uint32_t nesting) {
    Piece sequence = builder_.empty();
    while (sound() && text_.more()) {
      const char c = text_.peek();
      Piece item = {};
      if (c == '"') {
        item = parse_literal();
      } else if (c == '[') {
        item = parse_class();
      } else if (c == '.') {
        text_.skip();
        item = builder_.characters(complement({}));
      } else if (c == '(') {
        text_.skip();
        skip_space(true);
        item = parse_alternatives(nesting + 1);
        if (!text_.accept(")")) refuse("')' is expected");
      } else if (c == '<' || c == '!') {
        refuse("token references are not supported");
      } else if (is_word(c)) {
        item = builder_.call(rule_named(parse_name()).id);
      } else {
        break;
      }
      skip_space(nesting > 0);
      sequence = builder_.then(sequence, parse_repetition(item, nesting));
    }
    return sequence;
  }

  Piece parse_repetition(Piece item, uint32_t nesting) {
    while (sound() && text_.more()) {
      Repetition repetition;
      if (!parse_repetition_mark(text_, repetition)) {
        if (text_.more() && text_.peek() == '{') refuse("a repetition is malformed");
        break;
      }
      item = builder_.repeat(item, repetition.times_min, repetition.times_max);
      skip_space(nesting > 0);
    }
    return item;
  }

  uint32_t parse_character() {
    if (!text_.accept("\\")) return text_.take_code_point();
    if (!text_.more()) return 0;
    const char c = text_.take();
    switch (c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'x':
        return parse_hex(2);
      case 'u':
        return parse_hex(4);
      case 'U':
        return parse_hex(8);
      default:
        if (std::string_view("\\\"[]-^").find(c) == std::string_view::npos) refuse(std::string("the escape \\") + c + " is unknown");
        return static_cast<uint8_t>(c);
    }
  }

  uint32_t parse_hex(uint32_t digits) {
    uint32_t value = 0;
    if (!text_.take_hex(digits, value) || value > 0x10FFFF)
      refuse(std::to_string(digits) + " hexadecimal digits of a character are expected");
    return value;
  }

  Piece parse_literal() {
    text_.skip();
    Piece piece = builder_.empty();
    while (sound() && text_.more() && text_.peek() != '"') {
      const uint32_t c = parse_character();
      piece = builder_.then(piece, builder_.characters({{c, c}}));
    }
    if (!text_.accept("\"")) refuse("a literal has no end");
    return piece;
  }

  Piece parse_class() {
    text_.skip();
    const bool negated = text_.accept("^");
    std::vector<CodePoints> ranges;
    while (sound() && text_.more() && text_.peek() != ']') {
      const uint32_t low = parse_character();
      uint32_t high = low;
      if (text_.peek() == '-' && text_.peek(1) != ']') {
        text_.skip();
        high = parse_character();
      }
      ranges.push_back({low, high});
    }
    if (!text_.accept("]")) refuse("a class of characters has no end");
    return builder_.characters(negated ? complement(ranges) : ranges);
  }

  GrammarBuilder& builder_;
  PatternText text_;
  std::map<std::string, NamedRule> rules_;
};

}  // namespace

GrammarBuilder::RuleId add_gbnf(GrammarBuilder& builder, std::string_view source) { return GbnfParser(builder, source).parse(); }

}  // namespace realm
