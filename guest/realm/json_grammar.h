// The parts of JSON as pieces of a grammar.
//
// Schemas are written in one layout, that of Python's json.dumps: ", " between items and ": " after keys. An answer with a choice of
// white space has less text that is known in advance, and small models get lost in it. Without a schema white space is the model's choice.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "realm/grammar.h"

namespace realm {

constexpr uint32_t json_digits_max = 15;  // before and after the point of a number: what a double holds exactly

enum class JsonLayout { fixed, free };

class JsonGrammar {
 public:
  using Piece = GrammarBuilder::Piece;
  JsonGrammar(GrammarBuilder& builder, JsonLayout layout) : builder_(builder), layout_(layout) {}

  Piece string();                                             // any, with its quotes
  Piece string_of(uint32_t length_min, uint32_t length_max);  // in characters
  Piece quoted(Piece inside);
  Piece key_except(const std::vector<std::string>& names);  // a string that is none of them, with its quotes
  Piece number();
  Piece integer();
  Piece value();
  Piece object();
  Piece array();

  // `item`s in brackets, at least and at most so many.
  Piece list(Piece item, uint32_t times_min, uint32_t times_max, const char* open, const char* close);
  Piece comma();
  Piece colon();
  Piece text(std::string_view bytes) { return builder_.literal(bytes); }

 private:
  static constexpr GrammarBuilder::RuleId none = UINT32_MAX;
  Piece space();
  Piece character();
  Piece member();

  GrammarBuilder& builder_;
  const JsonLayout layout_;
  GrammarBuilder::RuleId character_ = none, string_ = none, number_ = none, integer_ = none, value_ = none, object_ = none, array_ = none;
};

// A JSON string without its quotes, escaped as this grammar has it.
std::string escape_json(std::string_view text);
// The characters of a string as the answer has them: themselves, or their short escapes.
GrammarBuilder::Piece json_characters(GrammarBuilder& builder, const std::vector<CodePoints>& ranges);

}  // namespace realm
