#include "realm/element_calls.h"

#include <string>

#include "realm/call_forms.h"
#include "realm/call_text.h"

namespace realm {
namespace {

using Calls = std::vector<ToolCall>;

constexpr std::string_view minimax = "]<]minimax[>[";
constexpr int depth_max = 32;  // of values in values

bool take_tag(std::string_view& text, std::string_view mark, std::string_view tag) {
  std::string_view rest = text;
  if (!take(rest, mark) || !take(rest, tag)) return false;
  text = rest;
  return true;
}

bool is_at_element(std::string_view text) { return take_tag(text, minimax, "<") && !text.starts_with('/'); }

// What an element holds as text says the same as in JSON where it is JSON.
common_json scalar(std::string_view text) {
  const common_json value = common_json::parse_no_throw(std::string(trimmed(text)));
  return value.is_number() || value.is_boolean() ? value : common_json(std::string(text));
}

std::optional<std::string> take_minimax_key(std::string_view& text) {
  if (!take_tag(text, minimax, "<")) return {};
  const auto key = take_until(text, ">");
  return key ? std::optional(std::string(*key)) : std::nullopt;
}

bool take_minimax_end(std::string_view& text, const std::string& key) { return take_tag(text, minimax, "</" + key + ">"); }

// The elements of an object or a list, up to a closing tag.
std::optional<common_json> take_minimax_elements(std::string_view& text, int depth) {
  if (depth == depth_max) return {};
  common_json object = common_json::object(), list = common_json::array();
  for (text = trimmed(text); is_at_element(text); text = trimmed(text)) {
    const auto key = take_minimax_key(text);
    if (!key) return {};
    common_json value;
    if (is_at_element(trimmed(text))) {
      const auto inside = take_minimax_elements(text, depth + 1);
      if (!inside) return {};
      value = *inside;
    } else {
      const size_t end = text.find(minimax);
      if (end == std::string_view::npos) return {};
      value = scalar(text.substr(0, end));
      text.remove_prefix(end);
    }
    if (!take_minimax_end(text, *key)) return {};
    if (*key == "item") {
      list.push_back(value);
    } else {
      object[*key] = value;
    }
  }
  return list.empty() ? object : list;
}

bool take_minimax_argument(std::string_view& text, const std::string& tool, const CallableTools& tools, common_json& arguments) {
  const auto key = take_minimax_key(text);
  if (!key) return false;
  if (is_at_element(trimmed(text))) {
    const auto value = take_minimax_elements(text, 0);
    if (!value) return false;
    arguments[*key] = *value;
  } else {
    const size_t end = text.find(minimax);
    if (end == std::string_view::npos) return false;
    arguments[*key] = tools.argument(tool, *key, text.substr(0, end));
    text.remove_prefix(end);
  }
  return take_minimax_end(text, *key);
}

std::string unescaped(std::string_view text) {
  std::string plain;
  while (!text.empty()) {
    if (take(text, "&quot;")) {
      plain += '"';
    } else if (take(text, "&amp;")) {
      plain += '&';
    } else {
      plain += text.front();
      text.remove_prefix(1);
    }
  }
  return plain;
}

// tag name="value" other="value"
std::optional<std::string> attribute(std::string_view head, const std::string& name) {
  if (!take_until(head, " " + name + "=\"")) return {};
  const auto value = take_until(head, "\"");
  return value ? std::optional(unescaped(*value)) : std::nullopt;
}

// An element of Kimi's: its head, and what is inside.
struct Element {
  std::string_view head;
  std::string_view inside;
};
std::optional<Element> take_element(std::string_view& text) {
  std::string_view rest = trimmed(text);
  if (!take(rest, "<|open|>")) return {};
  const auto head = take_until(rest, "<|sep|>");
  if (!head) return {};
  const std::string tag(head->substr(0, head->find(' ')));
  const auto inside = take_until(rest, "<|close|>" + tag + "<|sep|>");
  if (!inside) return {};
  text = trimmed(rest);
  return Element{*head, *inside};
}

bool read_kimi3_arguments(std::string_view body, const std::string& name, const CallableTools& tools, Calls& calls) {
  common_json arguments = common_json::object();
  for (body = trimmed(body); !body.empty();) {
    const auto element = take_element(body);
    if (!element) return false;
    if (element->head.starts_with("json")) return body.empty() && read_call(name, trimmed(element->inside), tools, calls);
    const auto key = attribute(element->head, "key");
    if (!element->head.starts_with("argument ") || !key) return false;
    const common_json value = common_json::parse_no_throw(std::string(element->inside));
    const bool is_text = attribute(element->head, "type") == "string" || value.is_discarded();
    arguments[*key] = is_text ? common_json(std::string(element->inside)) : value;
  }
  calls.push_back({name, arguments.dump_safe(), {}});
  return true;
}

}  // namespace

bool read_minimax3(std::string_view text, const CallableTools& tools, Calls& calls) {
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    if (!take_tag(text, minimax, "<invoke name=\"")) return false;
    const auto found = take_until(text, "\">");
    if (!found) return false;
    const std::string name(*found);
    if (!tools.contains(name)) return false;
    common_json arguments = common_json::object();
    for (text = trimmed(text); is_at_element(text); text = trimmed(text)) {
      if (!take_minimax_argument(text, name, tools, arguments)) return false;
    }
    if (!take_minimax_end(text, "invoke")) return false;
    calls.push_back({name, arguments.dump_safe(), {}});
  }
  return !calls.empty();
}

bool read_kimi3(std::string_view text, const CallableTools& tools, Calls& calls) {
  for (text = trimmed(text); !text.empty();) {
    const auto element = take_element(text);
    if (!element || !element->head.starts_with("call ")) return false;
    const auto name = attribute(element->head, "tool");
    if (!name || !tools.contains(*name) || !read_kimi3_arguments(element->inside, *name, tools, calls)) return false;
  }
  return !calls.empty();
}

bool read_solar(std::string_view text, const CallableTools& tools, Calls& calls) {
  const auto id = take_until(text, "<|tool_call:name|>");
  const auto name = id ? take_until(text, "<|tool_call:args|>") : std::nullopt;
  if (!name || !read_call(trimmed(*name), trimmed(text), tools, calls)) return false;
  calls.back().id = trimmed(*id);
  return true;
}

}  // namespace realm
