// Calls written as elements whose tags are control tokens, or begin with one.
#pragma once

#include <string_view>
#include <vector>

#include "realm/answer_pieces.h"
#include "realm/callable_tools.h"

namespace realm {

// MiniMax M3, N standing for ]<]minimax[>[: N<invoke name="name">N<key>valueN</key>...N</invoke>, as often as it comes. A value that is an
// object has elements of its own, a list has N<item>valueN</item>.
bool read_minimax3(std::string_view body, const CallableTools& tools, std::vector<ToolCall>& calls);

// Kimi K3: <|open|>call tool="name" index="1"<|sep|>, then arguments of the form <|open|>argument key="key" type="string"<|sep|>value
// <|close|>argument<|sep|>, or all of them as one JSON object in an element `json`, then <|close|>call<|sep|>; as often as it comes.
bool read_kimi3(std::string_view body, const CallableTools& tools, std::vector<ToolCall>& calls);

// Solar: id<|tool_call:name|>name<|tool_call:args|>{...}
bool read_solar(std::string_view body, const CallableTools& tools, std::vector<ToolCall>& calls);

}  // namespace realm
