#include "realm/json_fields.h"

#include "realm/utf8_assembler.h"

namespace realm {
namespace {

std::string plain(double value) {
  std::string text = std::to_string(value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

// A parser that recurses must not be led deeper than the stack goes.
bool too_deep(std::string_view text) {
  uint32_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > json_depth_max) return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

}  // namespace

std::string_view type_name(const common_json& value) {
  if (value.is_null()) return "null";
  if (value.is_boolean()) return "a boolean";
  if (value.is_number()) return "a number";
  if (value.is_string()) return "a string";
  if (value.is_array()) return "an array";
  return "an object";
}

Problem wrong_type(const std::string& field, std::string_view wanted, const common_json& value) {
  return problem(field + ": must be " + std::string(wanted) + ", not " + std::string(type_name(value)));
}

// Null counts as absent, as in the OpenAI API.
const common_json* find(const common_json& object, const std::string& field) {
  if (!object.contains(field) || object.at(field).is_null()) return nullptr;
  return &object.at(field);
}

Problem read_number(const common_json& object, const std::string& field, Range range, float& out) {
  const common_json* value = find(object, field);
  if (value == nullptr) return {};
  const std::string wanted =
      std::string("a number ") + (range.low_excluded ? "above " : "from ") + plain(range.low) + " to " + plain(range.high);
  if (!value->is_number()) return wrong_type(field, wanted, *value);
  const double number = value->get<double>();
  const bool inside = number <= range.high && (range.low_excluded ? number > range.low : number >= range.low);
  if (!inside) return problem(field + ": must be " + wanted);
  out = static_cast<float>(number);
  return {};
}

Problem read_whole(const common_json& object, const std::string& field, int64_t low, int64_t high, int64_t& out) {
  const common_json* value = find(object, field);
  if (value == nullptr) return {};
  const std::string wanted = "an integer from " + std::to_string(low) + " to " + std::to_string(high);
  const bool whole = value->is_number_integer() || (value->is_number() && std::floor(value->get<double>()) == value->get<double>());
  if (!whole) return wrong_type(field, wanted, *value);
  const double approximate = value->get<double>();
  if (approximate < static_cast<double>(low) || approximate > static_cast<double>(high)) return problem(field + ": must be " + wanted);
  out = value->is_number_integer() ? value->get<int64_t>() : static_cast<int64_t>(approximate);
  return {};
}

Problem read_bool(const common_json& object, const std::string& field, bool& out) {
  const common_json* value = find(object, field);
  if (value == nullptr) return {};
  if (!value->is_boolean()) return wrong_type(field, "a boolean", *value);
  out = value->get<bool>();
  return {};
}

Problem read_text(const common_json& object, const std::string& field, std::string& out) {
  const common_json* value = find(object, field);
  if (value == nullptr) return {};
  if (!value->is_string()) return wrong_type(field, "a string", *value);
  out = value->get<std::string>();
  return {};
}

Problem parse_object(const std::string& text, common_json& object) {
  if (valid_utf8_prefix(text) != text.size()) return problem("the request is not valid UTF-8");
  if (too_deep(text)) return problem("the request is nested deeper than " + std::to_string(json_depth_max) + " levels");
  object = common_json::parse_no_throw(text);
  if (object.is_discarded()) return problem("the request is not valid JSON");
  if (!object.is_object()) return wrong_type("the request", "an object", object);
  return {};
}

}  // namespace realm
