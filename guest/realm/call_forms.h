// The forms in which families of models write calls of tools. What stands between a form's marks is read here.
#pragma once

#include <string_view>
#include <vector>

#include "realm/answer_pieces.h"
#include "realm/callable_tools.h"

namespace realm {

enum class CallForm : uint8_t {
  open,        // any of json, function, keyed, named: what is inside <tool_call>
  json,        // {"name": ..., "arguments": {...}}, one or several, in a list or not
  by_name,     // [{"name": {...}}, ...]
  function,    // <function=name><parameter=key>value</parameter>...</function> or <function=name>{...}</function>
  invoke,      // <invoke name="name"><parameter name="key">value</parameter>...</invoke>
  dsml,        // the same with ｜DSML｜ in every tag and string="true" or "false" in a parameter's
  parameters,  // <function name="name"><param name="key">value</param>...</function>
  deepseek,  // <｜tool▁call▁begin｜>name<｜tool▁sep｜>{...}<｜tool▁call▁end｜>, or function<｜tool▁sep｜>name and a code block
  kimi,      // <|tool_call_begin|>functions.name:0<|tool_call_argument_begin|>{...}<|tool_call_end|>
  python,    // [name(key="value", other=1), ...]
  minimax3,  // these four as element_calls.h has them
  hunyuan3,
  kimi3,
  solar,
  gemma,  // call:name{key:<|"|>value<|"|>, ...}
};

// Adds the calls of a body. False, and nothing is added, when it is not calls of these tools from end to end.
bool read_calls(CallForm form, std::string_view body, const CallableTools& tools, std::vector<ToolCall>& calls);

// One call whose arguments are a JSON object. False when it is not one of these tools with such arguments.
bool read_call(std::string_view name, std::string_view arguments, const CallableTools& tools, std::vector<ToolCall>& calls);

}  // namespace realm
