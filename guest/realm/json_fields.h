// Reading fields of a JSON object that a customer wrote. A problem's message begins with the field's name.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "json.h"

namespace realm {

constexpr uint32_t json_depth_max = 64;

// What is wrong with a request; the message begins with the field's name.
struct RequestError {
  std::string message;
};

using Problem = std::optional<RequestError>;

inline Problem problem(std::string message) { return RequestError{std::move(message)}; }

std::string_view type_name(const common_json& value);  // "a string"
Problem wrong_type(const std::string& field, std::string_view wanted, const common_json& value);

// Null counts as absent, as in the OpenAI API.
const common_json* find(const common_json& object, const std::string& field);

// Whole text to an object: valid UTF-8, not nested deeper than json_depth_max, JSON.
Problem parse_object(const std::string& text, common_json& object);

struct Range {
  double low;
  double high;
  bool low_excluded = false;
};

// These leave `out` alone when the field is absent.
Problem read_number(const common_json& object, const std::string& field, Range range, float& out);
Problem read_whole(const common_json& object, const std::string& field, int64_t low, int64_t high, int64_t& out);
Problem read_bool(const common_json& object, const std::string& field, bool& out);
Problem read_text(const common_json& object, const std::string& field, std::string& out);

template <class T>
Problem read_integer(const common_json& object, const std::string& field, int64_t low, int64_t high, T& out) {
  int64_t value = static_cast<int64_t>(out);
  Problem bad = read_whole(object, field, low, high, value);
  if (!bad) out = static_cast<T>(value);
  return bad;
}

}  // namespace realm
