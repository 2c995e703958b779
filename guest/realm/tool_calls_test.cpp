#include "realm/tool_calls.h"

#include <gtest/gtest.h>

#include <random>

namespace realm {
namespace {

CallableTools tools() {
  CallableTools tools;
  tools.add("add");
  tools.add("weather", common_json::parse(R"({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"},
      "unit": {"enum": ["C", "F"]}, "note": {"type": ["string", "null"]},
      "either": {"anyOf": [{"type": "string"}, {"type": "number"}]}}})"));
  return tools;
}

std::string shown(const AnswerPieces& pieces) {
  std::string text = pieces.text;
  for (const ToolCall& call : pieces.calls) text += " |" + (call.id.empty() ? "" : call.id + "=") + call.name + call.arguments;
  return text;
}

// With all the marks that any family has.
std::vector<CallMarker> all_markers() {
  return call_markers(
      "<seed:tool_call> <minimax:tool_call> <tool_calls> <TOOLCALL> <|tools_prefix|> <|tool_list_start|> <|tool_call|> <|START_ACTION|> "
      "Action:\\n```json <|tool_calls_section_begin|> <｜tool▁call▁begin｜> ｜DSML｜ <|tool_call>call: <|function_call|> 'role': 'function "
      "call' "
      "functools[ <function name=\" ]<]minimax[>[ HYTK = ':opensource' xtml_type <|tool_call:begin|>");
}

std::string parsed(std::string_view text, size_t piece) {
  ToolCallParser parser(tools(), all_markers());
  AnswerPieces pieces;
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
    {"<tool_call><function=weather><parameter=city>\n7\n</parameter><parameter=days>7</parameter></function></tool_call>",
     R"( |weather{"city":"7","days":7})"},
    {"<tool_call><function=weather><parameter=city>\n  a\n\n</parameter><parameter=note>null</parameter></function></tool_call>",
     R"( |weather{"city":"  a\n","note":null})"},
    {"<tool_call><function=weather><parameter=unit>C</parameter><parameter=either>7</parameter></function></tool_call>",
     R"( |weather{"unit":"C","either":7})"},
    {"<tool_call>\n<function=add>\n</function>\n<function=weather>\n</function>\n</tool_call>", " |add{} |weather{}"},
    // Seed-OSS
    {"<seed:tool_call>\n<function=add>\n<parameter=a>1</parameter>\n</function>\n</seed:tool_call>", R"( |add{"a":1})"},
    // GLM 4.5 to 4.7, Laguna
    {"<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>8</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</"
     "tool_call>",
     R"( |weather{"city":"8","days":2})"},
    {"<tool_call>add<arg_key>a</arg_key><arg_value>[1, {\"b\": 2}]</arg_value></tool_call>", R"( |add{"a":[1,{"b":2}]})"},
    {"<tool_call>add</tool_call>", " |add{}"},
    // MiniMax M3
    {"]<]minimax[>[<tool_call>\n]<]minimax[>[<invoke "
     "name=\"weather\">]<]minimax[>[<city>7]<]minimax[>[</city>]<]minimax[>[<days>7]<]minimax[>["
     "</days>]<]minimax[>[</invoke>\n]<]minimax[>[<invoke name=\"add\">]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>",
     R"( |weather{"city":"7","days":7} |add{})"},
    {"]<]minimax[>[<tool_call>]<]minimax[>[<invoke name=\"add\">]<]minimax[>[<a>]<]minimax[>[<item>1]<]minimax[>[</item>]<]minimax[>[<item>"
     "]<]minimax[>[<b><c>]<]minimax[>[</b>]<]minimax[>[</item>]<]minimax[>[</a>]<]minimax[>[</invoke>]<]minimax[>[</tool_call>",
     R"( |add{"a":[1,{"b":"<c>"}]})"},
    {"]<]minimax[>[<tool_call>]<]minimax[>[<invoke name=\"other\">]<]minimax[>[</invoke>]<]minimax[>[</tool_call>",
     "]<]minimax[>[<tool_call>]<]minimax[>[<invoke name=\"other\">]<]minimax[>[</invoke>]<]minimax[>[</tool_call>"},
    // Hunyuan 3
    {"<tool_calls:opensource>\n<tool_call:opensource>weather<tool_sep:opensource>\n<arg_key:opensource>city</arg_key:opensource>\n"
     "<arg_value:opensource>8</arg_value:opensource>\n</tool_call:opensource>\n<tool_call:opensource>add<tool_sep:opensource>\n"
     "</tool_call:opensource>\n</tool_calls:opensource>",
     R"( |weather{"city":"8"} |add{})"},
    // Kimi K3
    {"<|open|>tools<|sep|><|open|>call tool=\"weather\" index=\"1\"<|sep|><|open|>argument key=\"city\" type=\"string\"<|sep|>8 \"x\""
     "<|close|>argument<|sep|><|open|>argument key=\"a &amp; &quot;\" type=\"array\"<|sep|>[1]<|close|>argument<|sep|><|close|>call<|sep|>"
     "<|open|>call tool=\"add\" index=\"2\"<|sep|><|open|>json type=\"object\"<|sep|>{\"b\": 2}<|close|>json<|sep|><|close|>call<|sep|>"
     "<|close|>tools<|sep|>",
     R"( |weather{"city":"8 \"x\"","a & \"":[1]} |add{"b":2})"},
    // Solar Open
    {"<|tool_call:begin|>id7<|tool_call:name|>add<|tool_call:args|>{\"a\": 1}<|tool_call:end|>", R"( |id7=add{"a":1})"},
    // MiniMax M2
    {"<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter name=\"city\">Rio</parameter>\n</invoke>\n"
     "<invoke name=\"add\">\n</invoke>\n</minimax:tool_call>",
     R"( |weather{"city":"Rio"} |add{})"},
    // MiniMax M1, Apriel
    {"<tool_calls>\n{\"name\": \"add\", \"arguments\": {}}\n{\"name\": \"weather\", \"arguments\": {}}\n</tool_calls>",
     " |add{} |weather{}"},
    {R"(<tool_calls>[{"name": "add", "arguments": {"a": 1}}]</tool_calls>)", R"( |add{"a":1})"},
    // Nemotron
    {R"(<TOOLCALL>[{"name": "add", "arguments": {"a": 1}}]</TOOLCALL>)", R"( |add{"a":1})"},
    // Apertus
    {R"(<|tools_prefix|>[{"add": {"a": 1}}, {"weather": {}}]<|tools_suffix|>)", R"( |add{"a":1} |weather{})"},
    // LFM2
    {R"(See: <|tool_call_start|>[weather(city="Paris", days=-2), add(a=[1, 'it\'s'], b={"c": None}, d=True, e=true)]<|tool_call_end|>)",
     R"(See: |weather{"city":"Paris","days":-2} |add{"a":[1,"it's"],"b":{"c":null},"d":true,"e":true})"},
    {"<|tool_call_start|>[add()]<|tool_call_end|>", " |add{}"},
    {R"(<|tool_call_start|>[{"name": "add", "arguments": {"a": 1}}]<|tool_call_end|>)", R"( |add{"a":1})"},
    // Granite 3
    {R"(<|tool_call|>[{"name": "add", "arguments": {"a": 1}}])", R"( |add{"a":1})"},
    // Command R7B and later, Command R+
    {R"(<|START_ACTION|>[
    {"tool_call_id": "0", "tool_name": "add", "parameters": {"a": 1}},
    {"tool_call_id": "1", "tool_name": "weather", "parameters": {}}
]<|END_ACTION|>)",
     R"( |0=add{"a":1} |1=weather{})"},
    {"Action:\n```json\n[{\"tool_name\": \"add\", \"parameters\": {\"a\": 1}}]\n```", R"( |add{"a":1})"},
    // Kimi K2
    {R"(Hm.<|tool_calls_section_begin|><|tool_call_begin|>functions.add:0<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|>)"
     R"(<|tool_call_begin|>functions.weather:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>)",
     R"(Hm. |functions.add:0=add{"a":1} |functions.weather:1=weather{})"},
    {R"(<|tool_call_begin|>functions.add:0<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|>)", R"( |functions.add:0=add{"a":1})"},
    // DeepSeek R1 and V3; V3.1; V3.2; V4
    {"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{\"a\": 1}\n```<｜tool▁call▁end｜>\n"
     "<｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{}```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     R"( |add{"a":1} |weather{})"},
    {"CONTENT<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{\"a\": 1}<｜tool▁call▁end｜>"
     "<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     R"(CONTENT |add{"a":1} |weather{})"},
    {"<｜tool▁call▁begin｜>add<｜tool▁sep｜>{\"a\": 1}<｜tool▁call▁end｜>", R"( |add{"a":1})"},
    {"\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"weather\">\n<｜DSML｜parameter name=\"city\" "
     "string=\"true\">7</｜DSML｜parameter>\n"
     "<｜DSML｜parameter name=\"days\" string=\"false\">7</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
     R"( |weather{"city":"7","days":7})"},
    {"<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"add\">\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>", " |add{}"},
    // Gemma 4
    {R"(Yes.<|tool_call>call:weather{city:<|"|>San "F", {x}<|"|>,days:2}<tool_call|><|tool_call>call:add{a:[1,{b:true}]}<tool_call|>)",
     R"(Yes. |weather{"city":"San \"F\", {x}","days":2} |add{"a":[1,{"b":true}]})"},
    {"<|tool_call>call:add{}<tool_call|>", " |add{}"},
    // GigaChat
    {"Hi<|message_sep|>\n\nfunction call<|role_sep|>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}", R"(Hi |add{"a":1})"},
    {R"(<|function_call|>{"name": "add", "arguments": {"a": 1}})", R"( |add{"a":1})"},
    // Firefunction
    {R"( functools[{"name": "add", "arguments": {"a": 1}}])", R"( |add{"a":1})"},
    // MiniCPM 5
    {R"(<function name="weather"><param name="city">print('x')</param></function>)", R"x( |weather{"city":"print('x')"})x"},
    // Llama 3.1, Functionary
    {R"(<function=weather>{"city": "Oslo"}</function>)", R"( |weather{"city":"Oslo"})"},
    {"<function=weather></function>", " |weather{}"},
    // Mistral
    {R"([TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}, {"name": "weather", "arguments": {}}])", R"( |add{"a":1} |weather{})"},
    {R"([TOOL_CALLS]add[ARGS]{"a": 1}[TOOL_CALLS]weather[ARGS]{})", R"( |add{"a":1} |weather{})"},
    {R"([TOOL_CALLS]add[CALL_ID]123456789[ARGS]{"a": 1})", R"( |123456789=add{"a":1})"},
    {R"([TOOL_CALLS][{"name": "add", "arguments": {"a": 1}, "id": "123456789"}])", R"( |123456789=add{"a":1})"},
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
    {"<minimax:tool_call><invoke name=\"add\"></minimax:tool_call>", "<minimax:tool_call><invoke name=\"add\"></minimax:tool_call>"},
    {"<|tool_call_start|>[add(a=)]<|tool_call_end|>", "<|tool_call_start|>[add(a=)]<|tool_call_end|>"},
    {"<|tool_call>call:add{a:<tool_call|>", "<|tool_call>call:add{a:<tool_call|>"},
    {"<tool_call>add and more</tool_call>", "<tool_call>add and more</tool_call>"},
    {"Action: none", "Action: none"},
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
  ToolCallParser parser(tools(), call_markers(""));
  AnswerPieces pieces;
  parser.add("Let me see <tool", pieces);
  EXPECT_EQ(pieces.text, "Let me see");
  parser.add("box", pieces);
  EXPECT_EQ(pieces.text, "Let me see <toolbox");
}

TEST(ToolCalls, MarksOfAFamilyAreTextToOthers) {
  ToolCallParser parser(tools(), call_markers("<TOOLCALL>"));
  AnswerPieces pieces;
  parser.add(R"(<seed:tool_call><TOOLCALL>[{"name": "add"}]</TOOLCALL>)", pieces);
  parser.finish(pieces);
  EXPECT_EQ(shown(pieces), "<seed:tool_call> |add{}");
}

TEST(ToolCalls, NestingInArgumentsIsBounded) {
  const std::string deep(100'000, '[');
  for (const std::string& answer : {"<tool_call><function=add><parameter=a>" + deep + "</parameter></function></tool_call>",
                                    "<|tool_call>call:add{a:" + deep, "<|tool_call_start|>[add(a=" + deep + ")]<|tool_call_end|>",
                                    "<tool_call>{\"name\": \"add\", \"arguments\": " + deep + "</tool_call>"}) {
    EXPECT_NE(parsed(answer, answer.size()).find(deep), std::string::npos);
  }
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
                                    "<|tool_call_start|>",
                                    "<|tool_call_end|>",
                                    "add(a=",
                                    "<|tool_call>call:add",
                                    "<tool_call|>",
                                    "<minimax:tool_call>",
                                    "<invoke name=\"add\">",
                                    "</invoke>",
                                    "<｜tool▁call▁begin｜>",
                                    "<｜tool▁sep｜>",
                                    "<|tool_call_begin|>functions.add:0",
                                    " ",
                                    "x"};
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (uint32_t i = random() % 14; i > 0; --i) text += parts[random() % std::size(parts)];
    const std::string at_once = parsed(text, text.size() + 1);
    EXPECT_EQ(parsed(text, 1 + random() % 7), at_once) << text;
    if (at_once.find(" |") == std::string::npos && text.find_first_not_of(' ') != std::string::npos) {
      EXPECT_EQ(at_once, text);
    }
  }
}

}  // namespace
}  // namespace realm
