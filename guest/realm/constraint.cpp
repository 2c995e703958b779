#include "realm/constraint.h"

#include "realm/gbnf.h"
#include "realm/json_grammar.h"
#include "realm/schema_grammar.h"
#include "realm/utf8_assembler.h"

namespace realm {
namespace {

bool is_too_long(std::string_view source, std::string& problem) {
  if (source.size() <= constraint_bytes_max) return false;
  problem = "it has " + std::to_string(source.size()) + " bytes, and at most " + std::to_string(constraint_bytes_max) + " are taken";
  return true;
}

}  // namespace

std::unique_ptr<Constraint> Constraint::build(GrammarBuilder& builder, GrammarBuilder::RuleId root, std::string& problem) {
  std::optional<Grammar> grammar = builder.build(root);
  if (grammar) return std::unique_ptr<Constraint>(new Constraint(std::move(*grammar)));
  problem = builder.problem();
  return nullptr;
}

std::unique_ptr<Constraint> Constraint::from_gbnf(std::string_view source, std::string& problem) {
  if (is_too_long(source, problem)) return nullptr;
  GrammarBuilder builder;
  return build(builder, add_gbnf(builder, source), problem);
}

std::unique_ptr<Constraint> Constraint::from_regex(std::string_view pattern, std::string& problem) {
  if (is_too_long(pattern, problem)) return nullptr;
  GrammarBuilder builder;
  return build(builder, builder.rule(add_pattern(builder, pattern, {})), problem);
}

std::unique_ptr<Constraint> Constraint::from_schema(const common_json& schema, std::string& problem) {
  if (is_too_long(schema.dump(), problem)) return nullptr;
  GrammarBuilder builder;
  return build(builder, add_schema(builder, schema), problem);
}

std::unique_ptr<Constraint> Constraint::any_json_object() {
  GrammarBuilder builder;
  JsonGrammar json(builder, JsonLayout::free);
  std::string problem;
  return build(builder, builder.rule(json.object()), problem);
}

std::string Constraint::forced_text() {
  bool ends = false;
  std::string text = matcher_.forced_text(forced_bytes_max, ends);
  text.resize(valid_utf8_prefix(text));
  if (!ends) text.resize(text.find_last_not_of(' ') + 1);
  return text;
}

}  // namespace realm
