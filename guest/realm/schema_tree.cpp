#include "realm/schema_tree.h"

#include <algorithm>

#include "realm/schema_shape.h"

namespace realm {
namespace {

constexpr uint32_t exclusion_nesting_max = 4;
const std::vector<std::string> all_types = {"object", "array", "string", "number", "boolean", "null"};
constexpr const char* object_keywords[] = {"properties",    "required",      "additionalProperties", "patternProperties",
                                           "propertyNames", "minProperties", "maxProperties",        "unevaluatedProperties"};
constexpr const char* array_keywords[] = {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "unevaluatedItems"};
constexpr const char* string_keywords[] = {"minLength", "maxLength", "pattern", "format"};
constexpr const char* number_keywords[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"};

template <size_t n>
bool has_any(const common_json& schema, const char* const (&keywords)[n]) {
  return std::any_of(std::begin(keywords), std::end(keywords), [&](const char* keyword) { return schema.contains(keyword); });
}

bool is_false(const common_json& schema) { return schema.is_boolean() && !schema.get<bool>(); }

common_json falsehood() { return common_json::make(false); }

int hex_digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// One step of a JSON pointer in a URI fragment.
std::string unescape(std::string_view step) {
  std::string text;
  for (size_t i = 0; i < step.size(); ++i) {
    if (step[i] == '%' && i + 2 < step.size() && hex_digit(step[i + 1]) >= 0 && hex_digit(step[i + 2]) >= 0) {
      text += static_cast<char>(hex_digit(step[i + 1]) * 16 + hex_digit(step[i + 2]));
      i += 2;
    } else {
      text += step[i];
    }
  }
  for (size_t at = 0; (at = text.find('~', at)) != std::string::npos; ++at) {
    const char next = at + 1 < text.size() ? text[at + 1] : '\0';
    if (next == '0' || next == '1') text.replace(at, 2, next == '0' ? "~" : "/");
  }
  return text;
}

std::vector<std::string> types_of(const common_json& schema) {
  std::vector<std::string> types;
  for (const auto& type : schema.at("type")) types.push_back(type.get<std::string>());
  return types;
}

bool same_type(const std::string& a, const std::string& b) {
  return a == b || (a == "integer" && b == "number") || (a == "number" && b == "integer");
}

common_json common_types(const common_json& a, const common_json& b) {
  common_json types = common_json::array();
  for (const auto& x : a) {
    for (const auto& y : b) {
      const std::string first = x.get<std::string>(), second = y.get<std::string>();
      if (!same_type(first, second)) continue;
      const common_json narrower = common_json::make(first == "integer" || second == "integer" ? std::string("integer") : first);
      if (!holds(types, narrower)) types.push_back(narrower);
    }
  }
  return types;
}

// draft 4 has true and false for what later became numbers.
void normalise_bound(common_json& schema, const char* exclusive, const char* inclusive) {
  if (!schema.contains(exclusive) || !schema.at(exclusive).is_boolean()) return;
  const bool excluded = schema.at(exclusive).get<bool>();
  schema.erase(exclusive);
  if (!excluded || !schema.contains(inclusive)) return;
  schema[exclusive] = common_json(schema.at(inclusive));
  schema.erase(inclusive);
}

void normalise(common_json& schema) {
  if (schema.contains("const")) {
    const common_json value = schema.at("const");
    schema.erase("const");
    if (schema.contains("enum") && schema.at("enum").is_array() && !holds(schema.at("enum"), value)) {
      schema["enum"] = common_json::array();
    } else {
      common_json values = common_json::array();
      values.push_back(value);
      schema["enum"] = values;
    }
  }
  if (schema.contains("type") && schema.at("type").is_string()) {
    common_json types = common_json::array();
    types.push_back(common_json(schema.at("type")));
    schema["type"] = types;
  }
  if (schema.contains("required") && !schema.at("required").is_array()) schema.erase("required");
  normalise_bound(schema, "exclusiveMinimum", "minimum");
  normalise_bound(schema, "exclusiveMaximum", "maximum");
  if (schema.contains("items") && schema.at("items").is_array()) {
    schema["prefixItems"] = common_json(schema.at("items"));
    schema.erase("items");
    if (schema.contains("additionalItems")) schema["items"] = common_json(schema.at("additionalItems"));
  }
}

}  // namespace

// Its own operator is ambiguous with itself the other way round.
bool same(const common_json& a, const common_json& b) { return a.operator==(common_json_value(b)); }

bool holds(const common_json& array, const common_json& value) {
  return std::any_of(array.begin(), array.end(), [&](const common_json& each) { return same(each, value); });
}

common_json all_of(const common_json& a, const common_json& b) {
  if (same(a, b)) return a;
  common_json list = common_json::array();
  list.push_back(a);
  list.push_back(b);
  common_json schema = common_json::object();
  schema["allOf"] = list;
  return schema;
}

std::vector<std::string> generated_types(const common_json& schema) {
  if (schema.contains("type")) return types_of(schema);
  std::vector<std::string> types;
  if (has_any(schema, object_keywords)) types.emplace_back("object");
  if (has_any(schema, array_keywords)) types.emplace_back("array");
  if (has_any(schema, string_keywords)) types.emplace_back("string");
  if (has_any(schema, number_keywords)) types.emplace_back("number");
  return types.empty() ? all_types : types;
}

const common_json* SchemaTree::resolve(const std::string& reference) {
  const common_json* at = &root_;
  const bool is_pointer = reference == "#" || reference.starts_with("#/");
  for (size_t begin = 2; is_pointer && at != nullptr && begin <= reference.size() && reference.size() > 1;) {
    const size_t end = std::min(reference.find('/', begin), reference.size());
    const std::string step = unescape(std::string_view(reference).substr(begin, end - begin));
    if (at->is_object()) {
      at = at->contains(step) ? &at->at(step) : nullptr;
    } else if (at->is_array() && !step.empty() && step.size() < 6 && step.find_first_not_of("0123456789") == std::string::npos) {
      size_t index = 0;
      for (const char c : step) index = index * 10 + static_cast<size_t>(c - '0');
      at = index < at->size() ? &at->at(index) : nullptr;
    } else {
      at = nullptr;
    }
    begin = end + 1;
  }
  if (is_pointer && at != nullptr) return at;
  refuse("$ref '" + reference + "' " + (is_pointer ? "leads nowhere" : "is not a pointer into the schema itself, such as #/$defs/name"));
  return nullptr;
}

common_json SchemaTree::flatten(const common_json& schema, uint32_t nesting) {
  if (nesting > schema_nesting_max) {
    refuse("$ref and allOf are nested deeper than " + std::to_string(schema_nesting_max) + ", or go round in a circle");
    return falsehood();
  }
  if (schema.is_boolean()) return schema;
  if (!schema.is_object()) {
    refuse("a schema must be an object or a boolean");
    return falsehood();
  }
  if (std::string bad = problem_of_shape(schema); !bad.empty()) {
    refuse(std::move(bad));
    return falsehood();
  }
  common_json base = schema;
  normalise(base);
  std::vector<const common_json*> parts;
  if (base.contains("$ref")) {
    base.erase("$ref");
    const common_json* named = resolve(schema.at("$ref").get<std::string>());
    if (named == nullptr) return falsehood();
    parts.push_back(named);
  }
  if (base.contains("allOf")) {
    base.erase("allOf");
    for (const auto& part : schema.at("allOf")) parts.push_back(&part);
  }
  if (parts.empty()) return base;
  // It looks at what the whole is, so it stays outside while that is put together.
  common_json unevaluated;
  if (base.contains("unevaluatedProperties")) {
    unevaluated = common_json(base.at("unevaluatedProperties"));
    base.erase("unevaluatedProperties");
  }
  for (const common_json* part : parts) {
    if (!problem_.empty()) return falsehood();
    base = both(base, flatten(*part, nesting + 1));
  }
  if (!unevaluated.is_null() && base.is_object()) base["unevaluatedProperties"] = unevaluated;
  return base;
}

common_json SchemaTree::both(const common_json& a, const common_json& b) {
  if (++merges_ > schema_merges_max) refuse("more than " + std::to_string(schema_merges_max) + " schemas to put together");
  if (is_false(a) || is_false(b) || !problem_.empty()) return falsehood();
  if (!a.is_object()) return b;
  if (!b.is_object()) return a;
  common_json merged = a;
  merge_objects(merged, b);
  merge_arrays(merged, b);
  for (const auto& [keyword, value] : b.items()) merge_keyword(merged, keyword, value);
  return merged;
}

void SchemaTree::merge_keyword(common_json& into, const std::string& keyword, const common_json& value) {
  const auto is = [&](std::initializer_list<const char*> names) {
    return std::any_of(names.begin(), names.end(), [&](const char* name) { return keyword == name; });
  };
  if (is({"properties", "additionalProperties", "prefixItems", "items", "additionalItems"})) return;  // done
  if (!into.contains(keyword) || same(into.at(keyword), value)) {
    into[keyword] = common_json(value);
    return;
  }
  common_json& mine = into.at(keyword);
  if (is({"type"})) {
    into[keyword] = common_types(mine, value);
  } else if (is({"enum", "required"})) {
    common_json list = keyword == "enum" ? common_json::array() : mine;
    for (const auto& each : value) {
      if (holds(mine, each) == (keyword == "enum")) list.push_back(each);
    }
    into[keyword] = list;
  } else if (is({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})) {
    if (mine.is_number() && value.is_number() && value.get<double>() > mine.get<double>()) into[keyword] = common_json(value);
  } else if (is({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})) {
    if (mine.is_number() && value.is_number() && value.get<double>() < mine.get<double>()) into[keyword] = common_json(value);
  } else if (is({"anyOf", "oneOf"})) {
    common_json product = common_json::array();
    for (const auto& x : mine) {
      for (const auto& y : value) product.push_back(all_of(x, y));
    }
    if (product.size() > schema_alternatives_max)
      refuse("more than " + std::to_string(schema_alternatives_max) + " alternatives in one place");
    into[keyword] = product;
  } else if (is({"uniqueItems"})) {
    into[keyword] = common_json::make(true);
  } else if (is({"propertyNames"})) {
    into[keyword] = all_of(common_json(mine), value);
  } else if (is({"pattern", "format", "multipleOf", "patternProperties", "unevaluatedProperties"})) {
    refuse("two schemas for one place that both have '" + keyword + "' are not supported");
  }
}

// What additionalProperties of one says holds for the properties that only the other names.
void SchemaTree::merge_objects(common_json& into, const common_json& other) {
  if (!has_any(into, object_keywords) || !has_any(other, object_keywords)) {
    for (const char* keyword : {"properties", "additionalProperties"}) {
      if (other.contains(keyword)) into[keyword] = common_json(other.at(keyword));
    }
    return;
  }
  for (const char* keyword : {"patternProperties", "unevaluatedProperties"}) {
    if (into.contains(keyword) || other.contains(keyword)) {
      return refuse(std::string("'") + keyword + "' in one of several schemas for one place is not supported");
    }
  }
  const common_json none = common_json::object();
  const common_json mine = into.value("properties", none);
  const common_json theirs = other.value("properties", none);
  common_json merged = common_json::object();
  const auto rest_of = [](const common_json& schema, const common_json& property) {
    return schema.contains("additionalProperties") ? all_of(property, schema.at("additionalProperties")) : property;
  };
  for (const auto& [name, schema] : mine.items())
    merged[name] = theirs.contains(name) ? all_of(schema, theirs.at(name)) : rest_of(other, schema);
  for (const auto& [name, schema] : theirs.items()) {
    if (!mine.contains(name)) merged[name] = rest_of(into, schema);
  }
  if (!merged.empty()) into["properties"] = merged;
  if (!other.contains("additionalProperties")) return;
  into["additionalProperties"] = rest_of(into, other.at("additionalProperties"));
}

void SchemaTree::merge_arrays(common_json& into, const common_json& other) {
  const common_json none = common_json::array();
  const common_json mine = into.value("prefixItems", none);
  const common_json theirs = other.value("prefixItems", none);
  const common_json anything = common_json::make(true);
  const common_json my_rest = into.contains("items") ? common_json(into.at("items")) : anything;
  const common_json their_rest = other.contains("items") ? common_json(other.at("items")) : anything;
  common_json merged = common_json::array();
  for (size_t i = 0; i < std::max(mine.size(), theirs.size()); ++i) {
    merged.push_back(all_of(i < mine.size() ? mine.at(i) : my_rest, i < theirs.size() ? theirs.at(i) : their_rest));
  }
  if (!merged.empty()) into["prefixItems"] = merged;
  if (into.contains("items") && other.contains("items")) {
    into["items"] = all_of(my_rest, their_rest);
  } else if (other.contains("items")) {
    into["items"] = their_rest;
  }
}

bool SchemaTree::excludes(const common_json& made, const common_json& other, uint32_t nesting) {
  if (is_false(made) || is_false(other)) return true;
  if (!made.is_object() || !other.is_object() || nesting > exclusion_nesting_max) return false;
  if (made.contains("enum") && other.contains("enum")) {
    const common_json& values = other.at("enum");
    const common_json& mine = made.at("enum");
    return std::none_of(mine.begin(), mine.end(), [&](const common_json& value) { return holds(values, value); });
  }
  const std::vector<std::string> types = generated_types(made);
  if (other.contains("type")) {
    const std::vector<std::string> theirs = types_of(other);
    const auto shared = [&](const std::string& type) {
      return std::any_of(theirs.begin(), theirs.end(), [&](const std::string& each) { return same_type(type, each); });
    };
    if (std::none_of(types.begin(), types.end(), shared)) return true;
  }
  const auto above = [](const common_json& low, const char* low_name, const common_json& high, const char* high_name) {
    return low.contains(low_name) && high.contains(high_name) && low.at(low_name).is_number() && high.at(high_name).is_number() &&
           low.at(low_name).get<double>() > high.at(high_name).get<double>();
  };
  const auto only = [&](const char* type) { return types.size() == 1 && same_type(types[0], type); };
  if (only("number") && (above(made, "minimum", other, "maximum") || above(other, "minimum", made, "maximum"))) return true;
  if (only("string") && (above(made, "minLength", other, "maxLength") || above(other, "minLength", made, "maxLength"))) return true;
  if (only("array") && (above(made, "minItems", other, "maxItems") || above(other, "minItems", made, "maxItems"))) return true;
  return only("object") && excludes_objects(made, other, nesting);
}

bool SchemaTree::excludes_objects(const common_json& made, const common_json& other, uint32_t nesting) {
  const common_json none = common_json::object();
  const common_json no_names = common_json::array();
  const common_json mine = made.value("properties", none);
  const common_json theirs = other.value("properties", none);
  const common_json my_required = made.value("required", no_names);
  const bool only_listed = !mine.empty() && (!made.contains("additionalProperties") || is_false(made.at("additionalProperties"))) &&
                           !made.contains("patternProperties");
  for (const auto& name : other.value("required", no_names)) {
    const std::string property = name.get<std::string>();
    if (only_listed && !mine.contains(property) && !holds(my_required, name)) return true;
  }
  for (const auto& name : my_required) {
    const std::string property = name.get<std::string>();
    if (theirs.contains(property)) {
      if (mine.contains(property) && excludes(flatten(mine.at(property)), flatten(theirs.at(property)), nesting + 1)) return true;
    } else if (other.contains("additionalProperties") && is_false(other.at("additionalProperties")) &&
               !other.contains("patternProperties")) {
      return true;
    }
  }
  return false;
}

}  // namespace realm
