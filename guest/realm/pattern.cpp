// Regular expressions.
#include <string>

#include "realm/gbnf.h"
#include "realm/json_grammar.h"
#include "realm/pattern_text.h"

namespace realm {
namespace {

using Piece = GrammarBuilder::Piece;
using Ranges = std::vector<CodePoints>;

const Ranges digits = {{'0', '9'}};
const Ranges word = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const Ranges space = {{'\t', '\r'}, {' ', ' '}};

Ranges intersection(const Ranges& ranges, CodePoints with) {
  Ranges result;
  for (const CodePoints& range : ranges) {
    const CodePoints part = {std::max(range.low, with.low), std::min(range.high, with.high)};
    if (part.low <= part.high) result.push_back(part);
  }
  return result;
}

// What is outside of a class, of ASCII only: dialects differ on whether é is a \W.
Ranges not_in(const Ranges& ranges) { return intersection(complement(ranges), {0, 0x7F}); }

class PatternParser {
 public:
  PatternParser(GrammarBuilder& builder, std::string_view pattern, PatternUse use) : builder_(builder), text_(pattern), use_(use) {}

  Piece parse() {
    const Piece whole = parse_alternatives(0);
    if (sound() && text_.more()) refuse("an unmatched ')'");
    return whole;
  }

 private:
  bool sound() const { return builder_.problem().empty(); }
  void refuse(const std::string& what) {
    builder_.refuse("the pattern has " + what + " at position " + std::to_string(text_.position()) + ", which is not supported");
  }

  // Characters as they stand in the answer.
  Piece written(const Ranges& ranges) { return use_.inside_json_string ? json_characters(builder_, ranges) : builder_.characters(ranges); }

  Piece anything() { return builder_.repeat(written(complement({})), 0, unlimited); }

  Piece parse_alternatives(uint32_t nesting) {
    if (nesting > pattern_nesting_max) refuse("groups nested deeper than " + std::to_string(pattern_nesting_max));
    std::vector<Piece> alternatives;
    do {
      alternatives.push_back(parse_alternative(nesting));
    } while (sound() && text_.accept("|"));
    return builder_.choice(alternatives);
  }

  // An anchor at its edge says that nothing comes before or after. Within groups it would have to be known what is around them.
  Piece parse_alternative(uint32_t nesting) {
    const bool outermost = nesting == 0;
    bool free_begin = outermost && use_.anywhere;
    bool free_end = free_begin;
    if (outermost && text_.accept("^")) free_begin = false;
    Piece sequence = free_begin ? anything() : builder_.empty();
    while (sound() && text_.more() && text_.peek() != '|' && text_.peek() != ')') {
      if (outermost && text_.peek() == '$' && (text_.peek(1) == '\0' || text_.peek(1) == '|')) {
        text_.skip();
        free_end = false;
        break;
      }
      sequence = builder_.then(sequence, parse_repeated(nesting));
    }
    return free_end ? builder_.then(sequence, anything()) : sequence;
  }

  Piece parse_repeated(uint32_t nesting) {
    Piece item = parse_item(nesting);
    Repetition repetition;
    if (sound() && parse_repetition_mark(text_, repetition)) {
      item = builder_.repeat(item, repetition.times_min, repetition.times_max);
      text_.accept("?");  // a lazy one matches the same texts
      if (text_.peek() == '*' || text_.peek() == '+' || text_.peek() == '?') refuse("a repeated repetition");
    }
    return item;
  }

  Piece parse_item(uint32_t nesting) {
    const char c = text_.peek();
    if (c == '(') {
      text_.skip();
      if (text_.accept("?") && !text_.accept(":")) {
        if (!((text_.accept("P<") || text_.accept("<")) && text_.peek() != '=' && text_.peek() != '!')) {
          refuse("a look-around or flags");
          return builder_.nothing();
        }
        while (text_.more() && text_.take() != '>') {
        }
      }
      const Piece group = parse_alternatives(nesting + 1);
      if (!text_.accept(")")) refuse("a group without an end");
      return group;
    }
    if (c == '[') return written(parse_class());
    if (c == '.') {
      text_.skip();
      return written(complement({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
    }
    if (c == '\\') return written(parse_escape(false));
    if (c == '^' || c == '$') refuse("an anchor inside");
    if (c == '*' || c == '+' || c == '?') refuse("nothing to repeat");
    const uint32_t character = text_.take_code_point();
    return written({{character, character}});
  }

  Ranges parse_escape(bool inside_class) {
    text_.skip();
    const char c = text_.take();
    const auto one = [](uint32_t value) { return Ranges{{value, value}}; };
    uint32_t value = 0;
    switch (c) {
      case 'd':
        return digits;
      case 'D':
        return not_in(digits);
      case 'w':
        return word;
      case 'W':
        return not_in(word);
      case 's':
        return space;
      case 'S':
        return not_in(space);
      case 'n':
        return one('\n');
      case 'r':
        return one('\r');
      case 't':
        return one('\t');
      case 'f':
        return one('\f');
      case 'v':
        return one('\v');
      case '0':
        return one(0);
      case 'c':
        return one(static_cast<uint8_t>(text_.take()) % 32);
      case 'x':
        if (!text_.take_hex(2, value)) refuse("a malformed \\x");
        return one(value);
      case 'u':
        if (!text_.take_hex(4, value)) refuse("a malformed \\u");
        return one(value);
      case 'b':
        if (inside_class) return one('\b');
        [[fallthrough]];
      default:
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '\0';
        if (letter) refuse(std::string("\\") + c);
        return one(static_cast<uint8_t>(c));
    }
  }

  Ranges parse_class() {
    text_.skip();
    const bool negated = text_.accept("^");
    Ranges ranges;
    bool first = true;
    while (sound() && text_.more() && (text_.peek() != ']' || first)) {
      first = false;
      Ranges part = parse_class_item();
      if (part.size() == 1 && part[0].low == part[0].high && text_.peek() == '-' && text_.peek(1) != ']') {
        text_.skip();
        const Ranges high = parse_class_item();
        if (high.size() != 1 || high[0].low != high[0].high || high[0].low < part[0].low) refuse("a malformed range");
        part[0].high = high.empty() ? part[0].high : high[0].high;
      }
      ranges.insert(ranges.end(), part.begin(), part.end());
    }
    if (!text_.accept("]")) refuse("a class without an end");
    return negated ? complement(ranges) : ranges;
  }

  Ranges parse_class_item() {
    if (text_.peek() == '\\') return parse_escape(true);
    const uint32_t c = text_.take_code_point();
    return {{c, c}};
  }

  GrammarBuilder& builder_;
  PatternText text_;
  PatternUse use_;
};

}  // namespace

Piece add_pattern(GrammarBuilder& builder, std::string_view pattern, PatternUse use) {
  return PatternParser(builder, pattern, use).parse();
}

}  // namespace realm
