// What a request asks the form of its answer to be: response_format, grammar, regex and others.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "json.h"
#include "realm/constraint.h"

namespace realm {

struct AnswerShape {
  enum class Kind { free, json_object, json_schema, grammar, regex };
  Kind kind = Kind::free;
  std::string field;   // of the request, for messages
  std::string source;  // the grammar or the regular expression
  common_json schema;
};

// Reads `response_format`, `json_schema`, `grammar`, `regex`, and vLLM's `structured_outputs` and `guided_json`, `guided_regex`,
// `guided_grammar`, `guided_choice`, of which at most one may ask for a form. Returns what is wrong, beginning with the field's name.
std::optional<std::string> read_answer_shape(const common_json& request, AnswerShape& shape);

// Null for a free answer, and when the form is not usable; then `problem` says why, beginning with the field's name.
std::unique_ptr<Constraint> make_constraint(const AnswerShape& shape, std::string& problem);

}  // namespace realm
