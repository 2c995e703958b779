#include "realm/json_grammar.h"

#include <algorithm>
#include <map>

#include "realm/pattern_text.h"

namespace realm {
namespace {

using Piece = GrammarBuilder::Piece;
using Ranges = std::vector<CodePoints>;

constexpr std::pair<char, const char*> short_escapes[] = {{'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\n"}, {'\t', "\\t"},
                                                          {'\r', "\\r"}, {'\f', "\\f"},  {'\b', "\\b"}};
const Ranges digit = {{'0', '9'}};
const Ranges digit_from_one = {{'1', '9'}};

struct NameTree {
  std::map<uint32_t, NameTree> next;  // by code point
  bool is_name = false;
};

}  // namespace

std::string escape_json(std::string_view text) {
  constexpr char hex[] = "0123456789abcdef";
  std::string escaped;
  for (const char c : text) {
    const auto* found = std::find_if(std::begin(short_escapes), std::end(short_escapes), [c](const auto& each) { return each.first == c; });
    if (found != std::end(short_escapes)) {
      escaped += found->second;
    } else if (static_cast<uint8_t>(c) < 0x20) {
      escaped += std::string("\\u00") + hex[c >> 4] + hex[c & 15];
    } else {
      escaped += c;
    }
  }
  return escaped;
}

Piece json_characters(GrammarBuilder& builder, const Ranges& ranges) {
  const Ranges plain = complement({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}, {0x7F, 0x7F}});
  Ranges direct;
  for (const CodePoints& range : ranges) {
    for (const CodePoints& each : plain) {
      const CodePoints part = {std::max(range.low, each.low), std::min(range.high, each.high)};
      if (part.low <= part.high) direct.push_back(part);
    }
  }
  std::vector<Piece> alternatives = {builder.characters(direct)};
  for (const auto& [c, escape] : short_escapes) {
    const auto code_point = static_cast<uint8_t>(c);
    const auto holds = [=](const CodePoints& range) { return range.low <= code_point && code_point <= range.high; };
    if (std::any_of(ranges.begin(), ranges.end(), holds)) alternatives.push_back(builder.literal(escape));
  }
  return builder.choice(alternatives);
}

// A bound on white space: nothing else would keep a model from writing it for ever.
Piece JsonGrammar::space() {
  if (layout_ == JsonLayout::fixed) return builder_.empty();
  constexpr uint32_t indentation_max = 20;
  const Piece line = builder_.then(builder_.repeat(builder_.literal("\n"), 1, 2),
                                   builder_.repeat(builder_.characters({{' ', ' '}, {'\t', '\t'}}), 0, indentation_max));
  return builder_.choice({builder_.empty(), builder_.literal(" "), line});
}

Piece JsonGrammar::comma() {
  if (layout_ == JsonLayout::fixed) return builder_.literal(", ");
  return builder_.then(space(), builder_.then(builder_.literal(","), space()));
}

Piece JsonGrammar::colon() {
  if (layout_ == JsonLayout::fixed) return builder_.literal(": ");
  return builder_.then(space(), builder_.then(builder_.literal(":"), space()));
}

Piece JsonGrammar::character() {
  if (character_ == none) {
    const Ranges hex = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
    // No surrogates: a lone one is no character.
    const Piece first_two = builder_.choice(
        {builder_.then(builder_.characters({{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}}), builder_.characters(hex)),
         builder_.then(builder_.characters({{'D', 'D'}, {'d', 'd'}}), builder_.characters({{'0', '7'}}))});
    const Piece code = builder_.then(builder_.literal("\\u"), builder_.then(first_two, builder_.repeat(builder_.characters(hex), 2, 2)));
    character_ = builder_.rule(builder_.choice({json_characters(builder_, complement({})), builder_.literal("\\/"), code}));
  }
  return builder_.call(character_);
}

Piece JsonGrammar::quoted(Piece inside) { return builder_.then(builder_.literal("\""), builder_.then(inside, builder_.literal("\""))); }

Piece JsonGrammar::string() {
  if (string_ == none) string_ = builder_.rule(quoted(builder_.repeat(character(), 0, unlimited)));
  return builder_.call(string_);
}

Piece JsonGrammar::string_of(uint32_t length_min, uint32_t length_max) {
  if (length_min == 0 && length_max == unlimited) return string();
  return quoted(builder_.repeat(character(), length_min, length_max));
}

// Along the tree of the names, and out of it at any character that no name goes on with.
Piece JsonGrammar::key_except(const std::vector<std::string>& names) {
  NameTree root;
  for (const std::string& name : names) {
    NameTree* at = &root;
    for (PatternText text(name); text.more();) at = &at->next[text.take_code_point()];
    at->is_name = true;
  }
  const auto any = [this] { return builder_.repeat(json_characters(builder_, complement({})), 0, unlimited); };
  struct Open {
    const NameTree* tree;
    uint32_t state;
  };
  const Piece key = builder_.nothing();
  const Piece rest = any();
  builder_.join(rest.end, key.end);
  std::vector<Open> todo = {{&root, key.begin}};
  while (!todo.empty()) {
    const Open open = todo.back();
    todo.pop_back();
    if (!open.tree->is_name) builder_.join(open.state, key.end);
    Ranges taken;
    for (const auto& [c, next] : open.tree->next) {
      const Piece step = json_characters(builder_, {{c, c}});
      builder_.join(open.state, step.begin);
      todo.push_back({&next, step.end});
      taken.push_back({c, c});
    }
    const Piece out = json_characters(builder_, complement(taken));
    builder_.join(open.state, out.begin);
    builder_.join(out.end, rest.begin);
  }
  return quoted(key);
}

Piece JsonGrammar::integer() {
  if (integer_ == none) {
    const Piece whole =
        builder_.then(builder_.characters(digit_from_one), builder_.repeat(builder_.characters(digit), 0, json_digits_max - 1));
    integer_ = builder_.rule(builder_.then(builder_.optional(builder_.literal("-")), builder_.choice({builder_.literal("0"), whole})));
  }
  return builder_.call(integer_);
}

Piece JsonGrammar::number() {
  if (number_ == none) {
    const Piece fraction = builder_.then(builder_.literal("."), builder_.repeat(builder_.characters(digit), 1, json_digits_max));
    const Piece sign = builder_.optional(builder_.characters({{'+', '+'}, {'-', '-'}}));
    const Piece exponent = builder_.then(builder_.characters({{'e', 'e'}, {'E', 'E'}}),
                                         builder_.then(sign, builder_.repeat(builder_.characters(digit), 1, 2)));
    number_ = builder_.rule(builder_.then(integer(), builder_.then(builder_.optional(fraction), builder_.optional(exponent))));
  }
  return builder_.call(number_);
}

Piece JsonGrammar::list(Piece item, uint32_t times_min, uint32_t times_max, const char* open, const char* close) {
  const auto enclosed = [&](Piece inside) {
    return builder_.then(builder_.literal(open), builder_.then(space(), builder_.then(inside, builder_.literal(close))));
  };
  if (times_max == 0) return enclosed(builder_.empty());
  const GrammarBuilder::RuleId each = builder_.rule(item);
  const Piece more = builder_.repeat(builder_.then(comma(), builder_.call(each)), times_min > 0 ? times_min - 1 : 0,
                                     times_max == unlimited ? unlimited : times_max - 1);
  const Piece items = builder_.then(builder_.call(each), builder_.then(more, space()));
  return enclosed(times_min == 0 ? builder_.optional(items) : items);
}

Piece JsonGrammar::member() { return builder_.then(string(), builder_.then(colon(), value())); }

Piece JsonGrammar::object() {
  if (object_ == none) {
    object_ = builder_.add_rule();
    builder_.define(object_, list(member(), 0, unlimited, "{", "}"));
  }
  return builder_.call(object_);
}

Piece JsonGrammar::array() {
  if (array_ == none) {
    array_ = builder_.add_rule();
    builder_.define(array_, list(value(), 0, unlimited, "[", "]"));
  }
  return builder_.call(array_);
}

Piece JsonGrammar::value() {
  if (value_ == none) {
    value_ = builder_.add_rule();
    builder_.define(value_, builder_.choice({object(), array(), string(), number(), builder_.literal("true"), builder_.literal("false"),
                                             builder_.literal("null")}));
  }
  return builder_.call(value_);
}

}  // namespace realm
