#include "realm/schema_shape.h"

#include <algorithm>
#include <string_view>

namespace realm {
namespace {

constexpr std::string_view unsupported[] = {"not",
                                            "if",
                                            "then",
                                            "else",
                                            "contains",
                                            "minContains",
                                            "maxContains",
                                            "dependencies",
                                            "dependentRequired",
                                            "dependentSchemas",
                                            "unevaluatedItems",
                                            "$dynamicRef",
                                            "$recursiveRef"};
constexpr std::string_view types[] = {"object", "array", "string", "number", "integer", "boolean", "null"};
constexpr std::string_view schemas[] = {"additionalProperties", "propertyNames", "unevaluatedProperties", "additionalItems"};
constexpr std::string_view schema_objects[] = {"properties", "patternProperties"};
constexpr std::string_view schema_lists[] = {"anyOf", "oneOf", "allOf", "prefixItems"};
constexpr std::string_view counts[] = {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"};
constexpr std::string_view numbers[] = {"minimum", "maximum", "multipleOf"};
constexpr std::string_view bounds[] = {"exclusiveMinimum", "exclusiveMaximum"};
constexpr std::string_view texts[] = {"$ref", "pattern"};

template <size_t n>
bool is_in(const std::string_view (&names)[n], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool is_schema(const common_json& value) { return value.is_object() || value.is_boolean(); }
bool is_type(const common_json& value) { return value.is_string() && is_in(types, value.get<std::string>()); }
bool is_text(const common_json& value) { return value.is_string(); }

template <class Test>
bool is_list(const common_json& value, const Test& test) {
  return value.is_array() && std::all_of(value.begin(), value.end(), test);
}

bool is_count(const common_json& value) {
  if (!value.is_number()) return false;
  const double number = value.get<double>();
  return number >= 0 && number <= 4e9 && number == static_cast<double>(static_cast<uint64_t>(number));
}

const char* expected(std::string_view keyword, const common_json& value) {
  if (keyword == "type" && !is_type(value) && !(is_list(value, is_type) && !value.empty())) return "a type or a list of types";
  if (is_in(schemas, keyword) && !is_schema(value)) return "a schema";
  if (keyword == "items" && !is_schema(value) && !is_list(value, is_schema)) return "a schema";
  if (is_in(schema_lists, keyword) && (!is_list(value, is_schema) || value.empty())) return "a list of schemas";
  if (is_in(schema_objects, keyword) && (!value.is_object() || !std::all_of(value.begin(), value.end(), is_schema))) {
    return "an object of schemas";
  }
  if (keyword == "required" && value.is_boolean()) return nullptr;  // draft 3, still seen; says nothing here
  if (keyword == "required" && !is_list(value, is_text)) return "a list of names";
  if (keyword == "enum" && !value.is_array()) return "a list";
  if (is_in(counts, keyword) && !is_count(value)) return "a count";
  if (is_in(numbers, keyword) && !value.is_number()) return "a number";
  if (is_in(bounds, keyword) && !value.is_number() && !value.is_boolean()) return "a number";
  if (is_in(texts, keyword) && !value.is_string()) return "a text";
  if (keyword == "uniqueItems" && !value.is_boolean()) return "true or false";
  return nullptr;
}

}  // namespace

std::string problem_of_shape(const common_json& schema) {
  for (const auto& [keyword, value] : schema.items()) {
    if (is_in(unsupported, keyword)) return "'" + keyword + "' is not supported";
    if (const char* what = expected(keyword, value)) return "'" + keyword + "' must be " + what;
  }
  if (schema.contains("multipleOf") && !(schema.at("multipleOf").get<double>() > 0)) return "'multipleOf' must be above 0";
  return {};
}

}  // namespace realm
