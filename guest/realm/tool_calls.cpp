#include "realm/tool_calls.h"

#include <algorithm>
#include <array>

#include "realm/json_fields.h"

namespace realm {
namespace {

constexpr std::string_view spaces = " \t\r\n";

// What begins a call, and what ends it; without an end the rest of the answer belongs to it.
struct Marker {
  std::string_view open;
  std::string_view close;
};
constexpr std::array markers = {Marker{"<tool_call>", "</tool_call>"}, Marker{"<function=", "</function>"}, Marker{"[TOOL_CALLS]", ""},
                                Marker{"<|python_tag|>", ""}};
// An answer that begins like this may be a call from end to end.
constexpr std::array whole_answers = {std::string_view("{"), std::string_view("[{"), std::string_view("```")};

std::string_view trimmed(std::string_view text) {
  const size_t begin = std::min(text.find_first_not_of(spaces), text.size());
  text.remove_prefix(begin);
  return text.substr(0, text.find_last_not_of(spaces) + 1);
}

// The length of the longest end of `text` that may be the beginning of a marker.
size_t possible_marker(std::string_view text) {
  size_t longest = 0;
  for (const Marker& marker : markers) {
    for (size_t length = std::min(marker.open.size() - 1, text.size()); length > longest; --length) {
      if (text.ends_with(marker.open.substr(0, length))) longest = length;
    }
  }
  return longest;
}

std::string_view without_code_block(std::string_view text) {
  if (!text.starts_with("```") || !text.ends_with("```") || text.size() < 6) return text;
  text.remove_suffix(3);
  return trimmed(text.substr(std::min(text.find('\n'), text.size())));
}

// A JSON value at the beginning of the text; how long it is. 0: there is none, or it is not complete.
size_t json_length(std::string_view text) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > json_depth_max) return 0;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return 0;
      if (--depth == 0) return i + 1;
    } else if (depth == 0) {
      return 0;
    }
  }
  return 0;
}

}  // namespace

bool ToolCallParser::take_json(const common_json& value, ToolPieces& out) const {
  if (value.is_array()) {
    ToolPieces all;
    for (const common_json& one : value) {
      if (!one.is_object() || !take_json(one, all)) return false;
    }
    out.calls.insert(out.calls.end(), all.calls.begin(), all.calls.end());
    return !all.calls.empty();
  }
  if (!value.is_object()) return false;
  // OpenAI's own nesting, which some models imitate.
  if (value.contains("function") && value.at("function").is_object()) return take_json(value.at("function"), out);
  if (!value.contains("name") || !value.at("name").is_string()) return false;
  const std::string name = value.at("name").get<std::string>();
  if (!names_.contains(name)) return false;
  std::string arguments = "{}";
  for (const char* field : {"arguments", "parameters"}) {
    if (!value.contains(field)) continue;
    const common_json& given = value.at(field);
    if (given.is_object()) arguments = given.dump_safe();
    if (given.is_string()) arguments = given.get<std::string>();
    break;
  }
  out.calls.push_back({name, arguments});
  return true;
}

// One JSON value or several after each other, separated by spaces, commas or semicolons.
bool ToolCallParser::take_json_calls(std::string_view text, ToolPieces& out) const {
  ToolPieces found;
  text = trimmed(text);
  while (!text.empty()) {
    const size_t length = json_length(text);
    if (length == 0) return false;
    const common_json value = common_json::parse_no_throw(std::string(text.substr(0, length)));
    if (value.is_discarded() || !take_json(value, found)) return false;
    text.remove_prefix(length);
    text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n,;"), text.size()));
  }
  out.calls.insert(out.calls.end(), found.calls.begin(), found.calls.end());
  return !found.calls.empty();
}

// name>{...} or name><parameter=key>value</parameter>..., without its closing tag.
bool ToolCallParser::take_function(std::string_view text, ToolPieces& out) const {
  const size_t end = text.find('>');
  if (end == std::string_view::npos) return false;
  const std::string name(trimmed(text.substr(0, end)));
  if (!names_.contains(name)) return false;
  text = trimmed(text.substr(end + 1));
  if (text.empty() || text.front() == '{') {
    const common_json value = common_json::parse_no_throw(text.empty() ? "{}" : std::string(text));
    if (value.is_discarded() || !value.is_object()) return false;
    out.calls.push_back({name, value.dump_safe()});
    return true;
  }
  constexpr std::string_view open = "<parameter=", close = "</parameter>";
  common_json arguments = common_json::object();
  while (text.starts_with(open)) {
    const size_t key_end = text.find('>');
    const size_t value_end = text.find(close);
    if (key_end == std::string_view::npos || value_end == std::string_view::npos || value_end < key_end) return false;
    const std::string value(trimmed(text.substr(key_end + 1, value_end - key_end - 1)));
    const common_json parsed = common_json::parse_no_throw(value);
    arguments[std::string(text.substr(open.size(), key_end - open.size()))] = parsed.is_discarded() ? common_json(value) : parsed;
    text = trimmed(text.substr(value_end + close.size()));
  }
  out.calls.push_back({name, arguments.dump_safe()});
  return true;
}

// name[ARGS]{...}, as often as it comes.
bool ToolCallParser::take_named_arguments(std::string_view text, ToolPieces& out) const {
  constexpr std::string_view separator = "[ARGS]", again = "[TOOL_CALLS]";
  ToolPieces found;
  text = trimmed(text);
  while (!text.empty()) {
    const size_t at = text.find(separator);
    if (at == std::string_view::npos) return false;
    const std::string name(trimmed(text.substr(0, at)));
    text = trimmed(text.substr(at + separator.size()));
    const size_t length = json_length(text);
    if (!names_.contains(name) || length == 0) return false;
    found.calls.push_back({name, std::string(text.substr(0, length))});
    text = trimmed(text.substr(length));
    if (text.starts_with(again)) text = trimmed(text.substr(again.size()));
  }
  out.calls.insert(out.calls.end(), found.calls.begin(), found.calls.end());
  return !found.calls.empty();
}

bool ToolCallParser::take_call(std::string_view body, ToolPieces& out) const {
  body = trimmed(body);
  constexpr std::string_view function = "<function=", function_end = "</function>";
  if (body.starts_with(function)) {
    body.remove_prefix(function.size());
    return take_function(body.substr(0, std::min(body.rfind(function_end), body.size())), out);
  }
  return take_json_calls(without_code_block(body), out) || take_named_arguments(body, out);
}

// Takes one piece off the held text. False when more text is needed first.
bool ToolCallParser::step(ToolPieces& out, bool at_end) {
  const auto give = [&](size_t length) {
    out.text += held_.substr(0, length);
    begun_ = begun_ || held_.find_first_not_of(spaces) < length;
    held_.erase(0, length);
  };
  if (held_.empty()) return false;
  const size_t first = held_.find_first_not_of(spaces);
  if (!begun_) {
    if (first == std::string::npos) {
      if (at_end) give(held_.size());
      return false;
    }
    const std::string_view rest = std::string_view(held_).substr(first);
    const bool whole = std::any_of(whole_answers.begin(), whole_answers.end(), [rest, at_end](std::string_view begin) {
      return rest.starts_with(begin) || (!at_end && begin.starts_with(rest));
    });
    if (whole) {
      if (!at_end) return false;
      if (!take_call(held_, out)) {
        give(held_.size());
        return false;
      }
      held_.clear();
      return false;
    }
  }
  const Marker* next = nullptr;
  size_t at = std::string::npos;
  for (const Marker& marker : markers) {
    const size_t found = held_.find(marker.open);
    if (found < at) {
      at = found;
      next = &marker;
    }
  }
  if (next == nullptr) {
    const size_t keep = at_end ? 0 : possible_marker(held_);
    // Spaces before a call are no text of the answer.
    const size_t last = held_.find_last_not_of(spaces, held_.size() - keep - (held_.size() > keep ? 1 : 0));
    const size_t certain = at_end ? held_.size() : (held_.size() == keep || last == std::string::npos ? 0 : last + 1);
    if (certain > 0) give(certain);
    return false;
  }
  const size_t body = at + next->open.size();
  const size_t end = next->close.empty() ? std::string::npos : held_.find(next->close, body);
  if (end == std::string::npos && !at_end) {
    const size_t last = at == 0 ? std::string::npos : held_.find_last_not_of(spaces, at - 1);
    if (last != std::string::npos) give(last + 1);
    return false;
  }
  const size_t stop = end == std::string::npos ? held_.size() : end + next->close.size();
  // A function's marker is part of what it says.
  const size_t from = next->open == "<function=" ? at : body;
  ToolPieces found;
  if (!take_call(std::string_view(held_).substr(from, (end == std::string::npos ? held_.size() : end) - from), found)) {
    give(stop);
    return true;
  }
  const size_t last = at == 0 ? std::string::npos : held_.find_last_not_of(spaces, at - 1);
  if (last != std::string::npos) out.text += held_.substr(0, last + 1);
  out.calls.insert(out.calls.end(), found.calls.begin(), found.calls.end());
  held_.erase(0, stop);
  begun_ = true;
  return true;
}

void ToolCallParser::add(std::string_view text, ToolPieces& out) {
  held_ += text;
  while (step(out, false)) {
  }
}

void ToolCallParser::finish(ToolPieces& out) {
  while (step(out, true)) {
  }
  // What is left is text; after calls spaces alone are none.
  if (held_.find_first_not_of(spaces) != std::string::npos) out.text += held_;
  held_.clear();
}

}  // namespace realm
