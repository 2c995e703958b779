// What an answer consists of, apart from its tokens.
#pragma once

#include <string>
#include <vector>

namespace realm {

struct ToolCall {
  std::string name;
  std::string arguments;  // a JSON object, as text
  std::string id;         // as the model wrote it; empty: it wrote none
};

// What came out of some text, in this order.
struct AnswerPieces {
  std::string reasoning;
  std::string text;
  std::vector<ToolCall> calls;

  bool empty() const { return reasoning.empty() && text.empty() && calls.empty(); }
};

}  // namespace realm
