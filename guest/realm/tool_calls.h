// Tool calls in what a model writes. Families have forms of their own; text and calls are told apart while the text streams in.
//
// Known forms:
//   <tool_call>{"name": ..., "arguments": {...}}</tool_call>            Hermes, Qwen
//   <tool_call><function=name><parameter=key>value</parameter>...       Qwen3-Coder
//   <function=name>{...}</function>                                     Llama 3.1, Functionary
//   [TOOL_CALLS][{"name": ..., "arguments": {...}}, ...]                Mistral
//   [TOOL_CALLS]name[ARGS]{...}                                         Mistral, newer
//   <|python_tag|>{"name": ..., "parameters": {...}}                    Llama 3.x
//   an answer that is {"name": ..., "parameters": {...}} and nothing else, bare or in a code block      Llama 3.2, Gemma
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"

namespace realm {

struct ToolCall {
  std::string name;
  std::string arguments;  // a JSON object, as text
};

// What came out of some text, in this order.
struct ToolPieces {
  std::string text;
  std::vector<ToolCall> calls;
};

class ToolCallParser {
 public:
  // Only these names are calls; whatever looks like a call of another is text.
  explicit ToolCallParser(std::set<std::string> names) : names_(std::move(names)) {}

  // Adds text; what is certain goes to `out`.
  void add(std::string_view text, ToolPieces& out);
  void finish(ToolPieces& out);

 private:
  bool step(ToolPieces& out, bool at_end);
  bool take_call(std::string_view body, ToolPieces& out) const;
  bool take_json_calls(std::string_view text, ToolPieces& out) const;
  bool take_json(const common_json& value, ToolPieces& out) const;
  bool take_function(std::string_view text, ToolPieces& out) const;
  bool take_named_arguments(std::string_view text, ToolPieces& out) const;

  const std::set<std::string> names_;
  std::string held_;
  bool begun_ = false;  // text other than spaces was given out, or a call was found
};

}  // namespace realm
