// Tools of a chat: what the client offers, how the model learns of them, how earlier calls and their results are told.
#pragma once

#include <set>
#include <string>

#include "realm/callable_tools.h"
#include "realm/json_fields.h"
#include "realm/request.h"

namespace realm {

constexpr uint32_t tools_max = 128;

struct ToolChoice {
  enum Kind { automatic, none, required, named } kind = automatic;
  std::string name;               // of `named`
  std::set<std::string> allowed;  // tools that may be called; empty: all that are offered

  bool allows(const std::string& tool) const { return kind == named ? tool == name : allowed.empty() || allowed.contains(tool); }
};

// [{"type": "function", "function": {"name", "description", "parameters"}}]
Problem check_tools(const common_json& tools);
// "none", "auto", "required", {"type": "function", "function": {"name"}}, or {"type": "allowed_tools"} with some of the tools
Problem read_tool_choice(const common_json& object, const common_json& tools, ToolChoice& choice);

std::set<std::string> tool_names(const common_json& tools);
CallableTools callable_tools(const common_json& tools, const ToolChoice& choice);

// The calls' arguments become objects, as templates want them: OpenAI has them as JSON text.
void parse_call_arguments(common_json& messages);

// For a template that knows no tools: a system message describes them, calls and results become text (Hermes' form).
void tell_tools_in_text(Request& request);

// A JSON Schema of one call to one of the tools, {"name": ..., "arguments": {...}}; or, when `answer` is a schema and not null, of that.
common_json call_schema(const common_json& tools, const ToolChoice& choice, const common_json& answer = nullptr);

}  // namespace realm
