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
  if (kind == "json_object") return take(shape, AnswerShape::Kind::json_object, "response_format");
  if (kind != "json_schema") return kinds;
  const common_json* described = find(format, "json_schema");
  if (described == nullptr || !described->is_object()) return "response_format.json_schema: must be an object";
  const common_json* schema = find(*described, "schema");
  // Without a schema any object will do, as in the OpenAI API.
  if (schema == nullptr) return take(shape, AnswerShape::Kind::json_object, "response_format");
  return take_schema(shape, "response_format.json_schema.schema", *schema);
}

Problem read_text(const common_json& request, const char* field, AnswerShape::Kind kind, AnswerShape& shape) {
  const common_json* value = find(request, field);
  if (value == nullptr) return {};
  if (!value->is_string()) return std::string(field) + ": must be a string";
  shape.source = value->get<std::string>();
  if (shape.source.empty()) return std::string(field) + ": must not be empty";
  return take(shape, kind, field);
}

}  // namespace

Problem read_answer_shape(const common_json& request, AnswerShape& shape) {
  if (const common_json* format = find(request, "response_format")) {
    if (auto bad = read_response_format(*format, shape)) return bad;
  }
  if (const common_json* schema = find(request, "json_schema")) {
    if (auto bad = take_schema(shape, "json_schema", *schema)) return bad;
  }
  if (auto bad = read_text(request, "grammar", AnswerShape::Kind::grammar, shape)) return bad;
  if (auto bad = read_text(request, "regex", AnswerShape::Kind::regex, shape)) return bad;
  return read_text(request, "guided_regex", AnswerShape::Kind::regex, shape);
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
