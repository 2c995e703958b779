#include "realm/call_forms.h"

#include <algorithm>
#include <string>

#include "realm/call_text.h"
#include "realm/element_calls.h"

namespace realm {
namespace {

using Calls = std::vector<ToolCall>;

std::string word(const common_json& object, const char* field) {
  return object.contains(field) && object.at(field).is_string() ? object.at(field).get<std::string>() : "";
}

bool read_json_value(const common_json& value, const CallableTools& tools, Calls& calls) {
  if (value.is_array()) {
    Calls all;
    for (const common_json& one : value) {
      if (!one.is_object() || !read_json_value(one, tools, all)) return false;
    }
    calls.insert(calls.end(), all.begin(), all.end());
    return !all.empty();
  }
  if (!value.is_object()) return false;
  // OpenAI's own nesting, which some models imitate.
  if (value.contains("function") && value.at("function").is_object()) return read_json_value(value.at("function"), tools, calls);
  const std::string name = value.contains("name") ? word(value, "name") : word(value, "tool_name");
  if (!tools.contains(name)) return false;
  std::string arguments = "{}";
  for (const char* field : {"arguments", "parameters"}) {
    if (!value.contains(field)) continue;
    const common_json& given = value.at(field);
    if (given.is_object()) arguments = given.dump_safe();
    if (given.is_string()) arguments = given.get<std::string>();
    break;
  }
  const std::string id = value.contains("id") ? word(value, "id") : word(value, "tool_call_id");
  calls.push_back({name, arguments, id});
  return true;
}

bool read_named_value(const common_json& value, const CallableTools& tools, Calls& calls) {
  if (!value.is_array() || value.empty()) return false;
  for (const common_json& one : value) {
    if (!one.is_object() || one.size() != 1) return false;
    for (const auto& [name, arguments] : one.items()) {
      if (!tools.contains(name) || !arguments.is_object()) return false;
      calls.push_back({name, arguments.dump_safe(), {}});
    }
  }
  return true;
}

// One JSON value or several after each other, separated by spaces, commas or semicolons.
template <class Read>
bool read_json_values(std::string_view text, const CallableTools& tools, Calls& calls, Read read) {
  text = without_code_block(trimmed(text));
  while (!text.empty()) {
    const size_t length = json_length(text);
    if (length == 0) return false;
    const common_json value = common_json::parse_no_throw(std::string(text.substr(0, length)));
    if (value.is_discarded() || !read(value, tools, calls)) return false;
    text.remove_prefix(length);
    text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n,;"), text.size()));
  }
  return !calls.empty();
}

// Arguments between tags: `open` up to its own end, a value, `close`, as often as they come.
template <class Open>
bool read_tagged_arguments(std::string_view text, std::string_view close, const std::string& name, const CallableTools& tools, Calls& calls,
                           Open open) {
  common_json arguments = common_json::object();
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    bool is_text = false, is_json = false;
    const auto key = open(text, is_text, is_json);
    if (!key) return false;
    auto value = take_until(text, close);
    if (!value) return false;
    const common_json parsed = is_json ? common_json::parse_no_throw(std::string(*value)) : common_json(nullptr);
    if (is_text) {
      arguments[*key] = std::string(*value);
    } else if (is_json && !parsed.is_discarded()) {
      arguments[*key] = parsed;
    } else {
      arguments[*key] = tools.argument(name, *key, *value);
    }
  }
  calls.push_back({name, arguments.dump_safe(), {}});
  return true;
}

// name>{...} or name><parameter=key>value</parameter>..., without its closing tag.
bool read_one_function(std::string_view text, const CallableTools& tools, Calls& calls) {
  const auto head = take_until(text, ">");
  if (!head) return false;
  const std::string name(trimmed(*head));
  if (!tools.contains(name)) return false;
  text = trimmed(text);
  if (text.empty() || text.front() == '{') return read_call(name, text.empty() ? "{}" : text, tools, calls);
  return read_tagged_arguments(text, "</parameter>", name, tools, calls,
                               [](std::string_view& rest, bool&, bool&) -> std::optional<std::string> {
                                 if (!take(rest, "<parameter=")) return {};
                                 const auto key = take_until(rest, ">");
                                 if (!key) return {};
                                 return std::string(trimmed(*key));
                               });
}

// <function=name>...</function>, as often as it comes; the last end may be missing.
bool read_functions(std::string_view text, const CallableTools& tools, Calls& calls) {
  constexpr std::string_view open = "<function=", close = "</function>";
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    if (!take(text, open)) return false;
    // An argument may hold the closing tag: what ends the call is the one before the next call, or the last.
    const size_t next = text.find(close);
    const bool has_end = next != std::string_view::npos;
    const size_t end = !has_end ? text.size() : text.find(open, next) == std::string_view::npos ? text.rfind(close) : next;
    if (!read_one_function(text.substr(0, end), tools, calls)) return false;
    text.remove_prefix(has_end ? end + close.size() : text.size());
  }
  return !calls.empty();
}

std::string tag(std::string_view start, std::string_view suffix) { return std::string(start) + std::string(suffix) + ">"; }

// <arg_key>key</arg_key><arg_value>value</arg_value> as often as it comes; each name of a tag with `suffix`.
bool read_pairs(std::string_view text, std::string_view suffix, const std::string& name, const CallableTools& tools, Calls& calls) {
  return read_tagged_arguments(text, tag("</arg_value", suffix), name, tools, calls,
                               [suffix](std::string_view& rest, bool&, bool&) -> std::optional<std::string> {
                                 if (!take(rest, tag("<arg_key", suffix))) return {};
                                 const auto key = take_until(rest, tag("</arg_key", suffix));
                                 rest = trimmed(rest);
                                 if (!key || !take(rest, tag("<arg_value", suffix))) return {};
                                 return std::string(trimmed(*key));
                               });
}

// name, then pairs.
bool read_keyed(std::string_view text, const CallableTools& tools, Calls& calls) {
  text = trimmed(text);
  const size_t end = std::min(text.find('<'), text.size());
  const std::string name(trimmed(text.substr(0, end)));
  return tools.contains(name) && read_pairs(text.substr(end), "", name, tools, calls);
}

// Hunyuan 3, T standing for `suffix`: <tool_callT>name<tool_sepT>, pairs, </tool_callT>, as often as it comes.
bool read_suffixed(std::string_view text, std::string_view suffix, const CallableTools& tools, Calls& calls) {
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    if (!take(text, tag("<tool_call", suffix))) return false;
    auto call = take_until(text, tag("</tool_call", suffix));
    const auto found = call ? take_until(*call, tag("<tool_sep", suffix)) : std::nullopt;
    if (!found) return false;
    const std::string name(trimmed(*found));
    if (!tools.contains(name) || !read_pairs(*call, suffix, name, tools, calls)) return false;
  }
  return !calls.empty();
}

struct Tags {
  std::string_view call;
  std::string_view argument;
};

// <call name="...">, <argument name="...">value</argument>..., </call>, as often as it comes.
bool read_invocations(std::string_view text, Tags tags, const CallableTools& tools, Calls& calls) {
  const std::string open = "<" + std::string(tags.call) + " name=\"", close = "</" + std::string(tags.call) + ">";
  const std::string argument = "<" + std::string(tags.argument) + " name=\"", argument_end = "</" + std::string(tags.argument) + ">";
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    if (!take(text, open)) return false;
    const auto name = take_until(text, "\"");
    const auto body = name && take(text, ">") ? take_until(text, close) : std::nullopt;
    if (!body || !tools.contains(std::string(*name))) return false;
    const auto take_key = [&argument](std::string_view& rest, bool& is_text, bool& is_json) -> std::optional<std::string> {
      if (!take(rest, argument)) return {};
      const auto key = take_until(rest, "\"");
      const auto attributes = take_until(rest, ">");
      if (!key || !attributes) return {};
      is_text = attributes->find("string=\"true\"") != std::string_view::npos;
      is_json = attributes->find("string=\"false\"") != std::string_view::npos;
      return std::string(*key);
    };
    if (!read_tagged_arguments(*body, argument_end, std::string(*name), tools, calls, take_key)) return false;
  }
  return !calls.empty();
}

// name[ARGS]{...} or name[CALL_ID]id[ARGS]{...}, as often as it comes.
bool read_named(std::string_view text, const CallableTools& tools, Calls& calls) {
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    take(text, "[TOOL_CALLS]");
    auto head = take_until(text, "[ARGS]");
    if (!head) return false;
    std::string_view id = *head;
    const auto name = take_until(id, "[CALL_ID]");
    text = trimmed(text);
    const size_t length = json_length(text);
    if (!read_call(trimmed(name ? *name : *head), text.substr(0, length), tools, calls)) return false;
    if (name) calls.back().id = trimmed(id);
    text.remove_prefix(length);
  }
  return !calls.empty();
}

bool read_deepseek(std::string_view text, const CallableTools& tools, Calls& calls) {
  constexpr std::string_view begin = "<｜tool▁call▁begin｜>", end = "<｜tool▁call▁end｜>";
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    take(text, begin);
    const size_t at = text.find(end);
    std::string_view call = text.substr(0, at);
    text.remove_prefix(at == std::string_view::npos ? text.size() : at + end.size());
    auto head = take_until(call, "<｜tool▁sep｜>");
    if (!head) return false;
    if (trimmed(*head) == "function") head = call.starts_with('\n') ? std::nullopt : take_until(call, "\n");
    if (!head || !read_call(trimmed(*head), without_code_block(trimmed(call)), tools, calls)) return false;
  }
  return !calls.empty();
}

// functions.name:0
std::string_view name_of_kimi(std::string_view id) {
  take(id, "functions.");
  const size_t colon = id.rfind(':');
  return id.substr(0, colon);
}

bool read_kimi(std::string_view text, const CallableTools& tools, Calls& calls) {
  constexpr std::string_view begin = "<|tool_call_begin|>", end = "<|tool_call_end|>";
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    take(text, begin);
    const size_t at = text.find(end);
    std::string_view call = text.substr(0, at);
    text.remove_prefix(at == std::string_view::npos ? text.size() : at + end.size());
    const auto id = take_until(call, "<|tool_call_argument_begin|>");
    if (!id || !read_call(name_of_kimi(trimmed(*id)), trimmed(call), tools, calls)) return false;
    calls.back().id = trimmed(*id);
  }
  return !calls.empty();
}

bool read_python_call(std::string_view& text, const CallableTools& tools, Calls& calls) {
  const auto name = take_until(text, "(");
  if (!name || !tools.contains(std::string(trimmed(*name)))) return false;
  common_json arguments = common_json::object();
  for (text = trimmed(text); !take(text, ")"); text = trimmed(text)) {
    const auto key = take_until(text, "=");
    if (!key) return false;
    const auto value = take_python_value(text);
    text = trimmed(text);
    if (!value || !(take(text, ",") || text.starts_with(')'))) return false;
    arguments[std::string(trimmed(*key))] = *value;
  }
  calls.push_back({std::string(trimmed(*name)), arguments.dump_safe(), {}});
  return true;
}

bool read_python(std::string_view text, const CallableTools& tools, Calls& calls) {
  text = trimmed(text);
  if (!take(text, "[")) return read_json_values(text, tools, calls, read_json_value);
  if (trimmed(text).starts_with('{')) return read_json_values("[" + std::string(text), tools, calls, read_json_value);
  while (true) {
    if (!read_python_call(text, tools, calls)) return false;
    text = trimmed(text);
    if (text == "]") return true;
    if (!take(text, ",")) return false;
  }
}

bool read_gemma(std::string_view text, const CallableTools& tools, Calls& calls) {
  text = trimmed(text);
  if (!take(text, "call:")) return false;
  const size_t brace = text.find('{');
  if (brace == std::string_view::npos) return false;
  const std::string name(trimmed(text.substr(0, brace)));
  text.remove_prefix(brace);
  if (!tools.contains(name)) return false;
  const auto arguments = take_gemma_value(text);
  if (!arguments || !trimmed(text).empty()) return false;
  calls.push_back({name, arguments->dump_safe(), {}});
  return true;
}

bool read_form(CallForm form, std::string_view body, const CallableTools& tools, Calls& calls) {
  switch (form) {
    case CallForm::open:
      for (const CallForm one : {CallForm::json, CallForm::function}) {
        if (read_calls(one, body, tools, calls)) return true;
      }
      return read_keyed(body, tools, calls) || read_named(body, tools, calls);
    case CallForm::json:
      return read_json_values(body, tools, calls, read_json_value);
    case CallForm::by_name:
      return read_json_values(body, tools, calls, read_named_value);
    case CallForm::function:
      return read_functions(body, tools, calls);
    case CallForm::invoke:
      return read_invocations(body, {"invoke", "parameter"}, tools, calls);
    case CallForm::dsml:
      return read_invocations(body, {"｜DSML｜invoke", "｜DSML｜parameter"}, tools, calls);
    case CallForm::parameters:
      return read_invocations(body, {"function", "param"}, tools, calls);
    case CallForm::deepseek:
      return read_deepseek(body, tools, calls);
    case CallForm::kimi:
      return read_kimi(body, tools, calls);
    case CallForm::python:
      return read_python(body, tools, calls);
    case CallForm::minimax3:
      return read_minimax3(body, tools, calls);
    case CallForm::hunyuan3:
      return read_suffixed(body, ":opensource", tools, calls);
    case CallForm::kimi3:
      return read_kimi3(body, tools, calls);
    case CallForm::solar:
      return read_solar(body, tools, calls);
    case CallForm::gemma:
      return read_gemma(body, tools, calls);
  }
  return false;
}

}  // namespace

bool read_call(std::string_view name, std::string_view arguments, const CallableTools& tools, Calls& calls) {
  if (!tools.contains(std::string(name)) || json_length(arguments) != arguments.size()) return false;
  const common_json value = common_json::parse_no_throw(std::string(arguments));
  if (value.is_discarded() || !value.is_object()) return false;
  calls.push_back({std::string(name), value.dump_safe(), {}});
  return true;
}

bool read_calls(CallForm form, std::string_view body, const CallableTools& tools, Calls& calls) {
  Calls found;
  if (!read_form(form, body, tools, found)) return false;
  calls.insert(calls.end(), found.begin(), found.end());
  return true;
}

}  // namespace realm
