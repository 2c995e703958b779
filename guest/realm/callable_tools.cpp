#include "realm/callable_tools.h"

#include "realm/call_text.h"
#include "realm/json_fields.h"

namespace realm {
namespace {

// What a schema allows, as far as it is said at its own level.
struct Kinds {
  bool known = false;
  bool text = false;
  bool other = false;
  bool none = false;  // null

  void add(const std::string& type) {
    known = true;
    text = text || type == "string";
    none = none || type == "null";
    other = other || (type != "string" && type != "null");
  }
  void add(const common_json& value) {
    known = true;
    text = text || value.is_string();
    none = none || value.is_null();
    other = other || !(value.is_string() || value.is_null());
  }
};

constexpr int alternatives_depth_max = 4;

void add_kinds(const common_json& schema, int depth, Kinds& kinds) {
  if (!schema.is_object() || depth > alternatives_depth_max) return;
  if (schema.contains("const")) kinds.add(schema.at("const"));
  if (schema.contains("enum") && schema.at("enum").is_array()) {
    for (const common_json& value : schema.at("enum")) kinds.add(value);
  } else if (schema.contains("type")) {
    const common_json& type = schema.at("type");
    if (type.is_string()) kinds.add(type.get<std::string>());
    if (type.is_array()) {
      for (const common_json& one : type) {
        if (one.is_string()) kinds.add(one.get<std::string>());
      }
    }
  }
  for (const char* field : {"anyOf", "oneOf"}) {
    if (!schema.contains(field) || !schema.at(field).is_array()) continue;
    for (const common_json& one : schema.at(field)) add_kinds(one, depth + 1, kinds);
  }
}

}  // namespace

std::string_view without_outer_lines(std::string_view text) {
  if (text.starts_with('\n')) text.remove_prefix(1);
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

common_json CallableTools::argument(const std::string& tool, const std::string& name, std::string_view written) const {
  Kinds kinds;
  if (const auto found = parameters_.find(tool); found != parameters_.end() && found->second.is_object()) {
    const common_json* properties = find(found->second, "properties");
    if (properties != nullptr && properties->is_object() && properties->contains(name)) add_kinds(properties->at(name), 0, kinds);
  }
  const std::string text(without_outer_lines(written));
  const bool only_text = kinds.known && kinds.text && !kinds.other && !kinds.none;
  if (only_text) return text;
  const std::string_view inner = trimmed(text);
  const bool nested = inner.starts_with('{') || inner.starts_with('[');
  if (nested && json_length(inner) != inner.size()) return text;
  const common_json value = common_json::parse_no_throw(std::string(inner));
  if (value.is_discarded()) return text;
  if (kinds.known && kinds.text && !kinds.other && !value.is_null()) return text;
  if (kinds.known && kinds.text && value.is_string()) return text;
  return value;
}

}  // namespace realm
