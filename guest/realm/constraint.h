// What an answer is held to: a grammar, however it was given, and where the answer stands in it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "json.h"
#include "realm/grammar.h"
#include "realm/matcher.h"

namespace realm {

constexpr size_t constraint_bytes_max = 256u << 10;  // of a schema, a grammar or a regular expression
constexpr size_t forced_bytes_max = 256;             // pushed at one time

class Constraint {
 public:
  // Each is empty when the source is not usable; `problem` then says why, in a sentence without its field.
  static std::unique_ptr<Constraint> from_gbnf(std::string_view source, std::string& problem);
  static std::unique_ptr<Constraint> from_regex(std::string_view pattern, std::string& problem);
  static std::unique_ptr<Constraint> from_schema(const common_json& schema, std::string& problem);
  static std::unique_ptr<Constraint> any_json_object();

  Constraint(const Constraint&) = delete;
  Constraint& operator=(const Constraint&) = delete;

  Matcher& matcher() { return matcher_; }

  // Text that must come next whatever the answer, whole characters. Spaces at its end are left to the model, which may write them as
  // one token with what follows, unless the answer ends there.
  std::string forced_text();

 private:
  explicit Constraint(Grammar grammar) : grammar_(std::move(grammar)), matcher_(grammar_) {}
  static std::unique_ptr<Constraint> build(GrammarBuilder& builder, GrammarBuilder::RuleId root, std::string& problem);

  const Grammar grammar_;
  Matcher matcher_;
};

}  // namespace realm
