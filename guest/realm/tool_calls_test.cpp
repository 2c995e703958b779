#include "realm/tool_calls.h"

#include <gtest/gtest.h>

#include <random>

namespace realm {
namespace {

const std::set<std::string> names = {"weather", "add"};

std::string shown(const ToolPieces& pieces) {
  std::string text = pieces.text;
  for (const ToolCall& call : pieces.calls) text += " |" + call.name + call.arguments;
  return text;
}

std::string parsed(std::string_view text, size_t piece) {
  ToolCallParser parser(names);
  ToolPieces pieces;
  for (size_t at = 0; at < text.size(); at += piece) parser.add(text.substr(at, piece), pieces);
  parser.finish(pieces);
  return shown(pieces);
}

struct Case {
  const char* answer;
  const char* wanted;
};

const Case cases[] = {
    // Hermes, Qwen
    {R"(<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>)", R"( |add{"a":1})"},
    {"I look.\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call>\n"
     "<tool_call>{\"name\": \"weather\", \"arguments\": {}}</tool_call>",
     R"(I look. |add{"a":1} |weather{})"},
    {R"(<tool_call>{"name": "add", "arguments": "{\"a\": 1}"}</tool_call>)", R"( |add{"a": 1})"},
    {R"(<tool_call>{"name": "add", "arguments": {"a": "</tool"}})", R"( |add{"a":"</tool"})"},
    // Qwen3-Coder
    {"<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\ntwo words\n</parameter>\n</function>\n</tool_call>",
     R"( |add{"a":1,"b":"two words"})"},
    // Llama 3.1, Functionary
    {R"(<function=weather>{"city": "Oslo"}</function>)", R"( |weather{"city":"Oslo"})"},
    {"<function=weather></function>", " |weather{}"},
    // Mistral
    {R"([TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}, {"name": "weather", "arguments": {}}])", R"( |add{"a":1} |weather{})"},
    {R"([TOOL_CALLS]add[ARGS]{"a": 1}[TOOL_CALLS]weather[ARGS]{})", R"( |add{"a": 1} |weather{})"},
    // Llama 3.x
    {R"(<|python_tag|>{"name": "add", "parameters": {"a": 1}}; {"name": "weather", "parameters": {}})", R"( |add{"a":1} |weather{})"},
    // bare
    {R"({"name": "add", "parameters": {"a": 1}})", R"( |add{"a":1})"},
    {"```json\n[{\"name\": \"add\", \"arguments\": {\"a\": 1}}]\n```", R"( |add{"a":1})"},
    {R"({"type": "function", "function": {"name": "add", "arguments": {"a": 1}}})", R"( |add{"a":1})"},
    // no calls
    {"Just text, a < b and [TOOL", "Just text, a < b and [TOOL"},
    {R"({"name": "unknown", "parameters": {}})", R"({"name": "unknown", "parameters": {}})"},
    {R"(<tool_call>{"name": "unknown"}</tool_call> done)", R"(<tool_call>{"name": "unknown"}</tool_call> done)"},
    {"<tool_call>not JSON</tool_call>", "<tool_call>not JSON</tool_call>"},
    {R"(<tool_call>{"name": "add", "arguments": )", R"(<tool_call>{"name": "add", "arguments": )"},
    {"```python\nprint(1)\n```", "```python\nprint(1)\n```"},
    {R"({"answer": 42})", R"({"answer": 42})"},
    {"   ", "   "},
    {"", ""},
};

TEST(ToolCalls, EveryFormIsUnderstoodHoweverItIsSplit) {
  for (const Case& one : cases) {
    const std::string_view answer = one.answer;
    for (size_t piece = 1; piece <= std::max<size_t>(answer.size(), 1); ++piece) {
      EXPECT_EQ(parsed(answer, piece), one.wanted) << "in pieces of " << piece << ": " << answer;
    }
  }
}

TEST(ToolCalls, TextIsGivenOutAsSoonAsItIsCertain) {
  ToolCallParser parser(names);
  ToolPieces pieces;
  parser.add("Let me see <tool", pieces);
  EXPECT_EQ(pieces.text, "Let me see");
  parser.add("box", pieces);
  EXPECT_EQ(pieces.text, "Let me see <toolbox");
}

TEST(ToolCalls, AnyTextComesBackWholeOrAsCalls) {
  std::mt19937 random(3);
  const std::string_view parts[] = {"<tool_call>",
                                    "</tool_call>",
                                    "<function=add>",
                                    "</function>",
                                    "[TOOL_CALLS]",
                                    "<|python_tag|>",
                                    "{",
                                    "}",
                                    "[",
                                    "]",
                                    ",",
                                    "\"name\"",
                                    ":",
                                    "\"add\"",
                                    "[ARGS]",
                                    "<parameter=a>",
                                    "</parameter>",
                                    "```",
                                    " ",
                                    "x"};
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (uint32_t i = random() % 12; i > 0; --i) text += parts[random() % std::size(parts)];
    const std::string at_once = parsed(text, text.size() + 1);
    EXPECT_EQ(parsed(text, 1 + random() % 7), at_once) << text;
    if (at_once.find(" |") == std::string::npos && text.find_first_not_of(' ') != std::string::npos) {
      EXPECT_EQ(at_once, text);
    }
  }
}

}  // namespace
}  // namespace realm
