#include "realm/answer_shape.h"

namespace realm {
namespace {

using Problem = std::optional<std::string>;

const common_json* find(const common_json& object, const char* field) {
  return object.contains(field) && !object.at(field).is_null() ? &object.at(field) : nullptr;
}

Problem take(AnswerShape& shape, AnswerShape::Kind kind, const std::string& field) {
  if (shape.kind != AnswerShape::Kind::free) return field + ": the answer already has its form from " + shape.field;
  shape.kind = kind;
  shape.field = field;
  return {};
}

Problem take_schema(AnswerShape& shape, const std::string& field, const common_json& schema) {
  if (!schema.is_object() && !schema.is_boolean()) return field + ": must be a JSON Schema";
  shape.schema = schema;
  return take(shape, AnswerShape::Kind::json_schema, field);
}

Problem read_response_format(const common_json& format, AnswerShape& shape) {
  const char* kinds = "response_format: type must be \"text\", \"json_object\" or \"json_schema\"";
  if (!format.is_object()) return "response_format: must be an object";
  const common_json* type = find(format, "type");
  if (type == nullptr || !type->is_string()) return kinds;
  const std::string kind = type->get<std::string>();
  if (kind == "text") return {};
  if (kind == "json_object") {  // llama-server's has a schema, if the client likes
    if (const common_json* schema = find(format, "schema")) return take_schema(shape, "response_format.schema", *schema);
    return take(shape, AnswerShape::Kind::json_object, "response_format");
  }
  if (kind != "json_schema") return kinds;
  const common_json* described = find(format, "json_schema");
  if (described == nullptr || !described->is_object()) return "response_format.json_schema: must be an object";
  const common_json* schema = find(*described, "schema");
  // Without a schema any object will do, as in the OpenAI API.
  if (schema == nullptr) return take(shape, AnswerShape::Kind::json_object, "response_format");
  return take_schema(shape, "response_format.json_schema.schema", *schema);
}

Problem read_text(const common_json& request, const std::string& within, const char* name, AnswerShape::Kind kind, AnswerShape& shape) {
  const common_json* value = find(request, name);
  if (value == nullptr) return {};
  const std::string field = within + name;
  if (!value->is_string()) return field + ": must be a string";
  shape.source = value->get<std::string>();
  if (shape.source.empty()) return field + ": must not be empty";
  return take(shape, kind, field);
}

// One of several texts, as a grammar.
Problem read_choice(const common_json& request, const std::string& within, const char* name, AnswerShape& shape) {
  const common_json* value = find(request, name);
  if (value == nullptr) return {};
  const std::string field = within + name;
  if (!value->is_array() || value->empty()) return field + ": must be an array of strings";
  std::string source = "root ::= ";
  for (const common_json& one : *value) {
    if (!one.is_string() || one.get<std::string>().empty()) return field + ": must be an array of strings that are not empty";
    if (!source.ends_with("= ")) source += " | ";
    source += '"';
    for (const char c : one.get<std::string>()) {
      if (c == '"' || c == '\\') source += '\\';
      source += c == '\n' ? "\\n" : c == '\r' ? "\\r" : std::string(1, c);
    }
    source += '"';
  }
  shape.source = source;
  return take(shape, AnswerShape::Kind::grammar, field);
}

// vLLM's fields: `structured_outputs`, and older ones with a prefix.
Problem read_vllm_fields(const common_json& object, const std::string& within, const std::string& prefix, AnswerShape& shape) {
  if (const common_json* schema = find(object, (prefix + "json").c_str())) {
    common_json given = *schema;
    if (given.is_string()) given = common_json::parse_no_throw(given.get<std::string>());
    if (given.is_discarded()) return within + prefix + "json: must be a JSON Schema";
    if (auto bad = take_schema(shape, within + prefix + "json", given)) return bad;
  }
  if (auto bad = read_text(object, within, (prefix + "regex").c_str(), AnswerShape::Kind::regex, shape)) return bad;
  if (auto bad = read_text(object, within, (prefix + "grammar").c_str(), AnswerShape::Kind::grammar, shape)) return bad;
  return read_choice(object, within, (prefix + "choice").c_str(), shape);
}

}  // namespace

Problem read_answer_shape(const common_json& request, AnswerShape& shape) {
  if (const common_json* format = find(request, "response_format")) {
    if (auto bad = read_response_format(*format, shape)) return bad;
  }
  if (const common_json* schema = find(request, "json_schema")) {
    if (auto bad = take_schema(shape, "json_schema", *schema)) return bad;
  }
  if (auto bad = read_text(request, "", "grammar", AnswerShape::Kind::grammar, shape)) return bad;
  if (auto bad = read_text(request, "", "regex", AnswerShape::Kind::regex, shape)) return bad;
  if (auto bad = read_vllm_fields(request, "", "guided_", shape)) return bad;
  const common_json* vllm = find(request, "structured_outputs");
  if (vllm == nullptr) return {};
  if (!vllm->is_object()) return "structured_outputs: must be an object";
  return read_vllm_fields(*vllm, "structured_outputs.", "", shape);
}

std::unique_ptr<Constraint> make_constraint(const AnswerShape& shape, std::string& problem) {
  std::unique_ptr<Constraint> constraint;
  switch (shape.kind) {
    case AnswerShape::Kind::free:
      return nullptr;
    case AnswerShape::Kind::json_object:
      return Constraint::any_json_object();
    case AnswerShape::Kind::json_schema:
      constraint = Constraint::from_schema(shape.schema, problem);
      break;
    case AnswerShape::Kind::grammar:
      constraint = Constraint::from_gbnf(shape.source, problem);
      break;
    case AnswerShape::Kind::regex:
      constraint = Constraint::from_regex(shape.source, problem);
      break;
  }
  if (!constraint) problem = shape.field + ": " + problem;
  return constraint;
}

}  // namespace realm
