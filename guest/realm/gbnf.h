// GBNF, the grammar notation of llama.cpp, and regular expressions, as pieces of a grammar.
#pragma once

#include <string_view>

#include "realm/grammar.h"

namespace realm {

constexpr uint32_t pattern_nesting_max = 64;  // groups within groups
constexpr uint32_t gbnf_rules_max = 4'096;

// The notation of llama.cpp's grammars/README.md without token references; the rule `root` is the answer. What is wrong goes to
// builder.problem().
GrammarBuilder::RuleId add_gbnf(GrammarBuilder& builder, std::string_view source);

// How a pattern's characters are written in the answer, and what it has to match.
struct PatternUse {
  bool inside_json_string = false;  // between the quotes of a JSON string, with its escapes; else as they are
  bool anywhere = false;            // somewhere in the text unless anchored (JSON Schema); else all of it
};

// Literals, classes (with \d \w \s, negation, ranges), `.`, groups (capturing ones as plain ones), alternatives, * + ? {n} {n,} {n,m}
// and their lazy forms, ^ and $ at the ends, escapes \n \r \t \f \v \0 \xHH \uHHHH \cX. Not: look-around, back-references, \b, \p, flags.
// They are named in builder.problem().
GrammarBuilder::Piece add_pattern(GrammarBuilder& builder, std::string_view pattern, PatternUse use);

}  // namespace realm
