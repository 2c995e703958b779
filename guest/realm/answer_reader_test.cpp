#include "realm/answer_reader.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <random>

namespace realm {
namespace {

// What tells a family by its chat template.
constexpr const char* think = "{{ '<think>' }} </think>";
constexpr const char* kimi = "<think></think> <|tool_calls_section_begin|><|tool_call_begin|>";
constexpr const char* seed = "<seed:think> <seed:tool_call>";
constexpr const char* lfm2 = "<think> <|tool_list_start|> <|tool_call_start|>";
constexpr const char* dsml = "<think> </think> ｜DSML｜";
constexpr const char* command = "<|START_THINKING|> <|START_RESPONSE|> <|START_ACTION|>";
constexpr const char* granite = "<think></think><response></response> <|tool_call|>";
constexpr const char* ministral = "[THINK] [TOOL_CALLS]";
constexpr const char* gemma = "<|channel>thought <|tool_call>call:";
constexpr const char* apriel = "Here are my reasoning steps:\n [BEGIN FINAL RESPONSE] <tool_calls>";
constexpr const char* gpt_oss = "<|start|>assistant<|channel|>";
constexpr const char* functionary = ">>>all >>>${recipient}";

struct Case {
  const char* chat_template;
  const char* prompt;  // its end
  const char* answer;
  const char* wanted;  // (reasoning)text |call
};

constexpr const char* harmony = "<|start|>assistant";
const Case cases[] = {
    // no reasoning
    {"", "", "Hello", "Hello"},
    {"", "", "<think>x</think>y", "<think>x</think>y"},
    {think, "", "Hello <think>x</think>y", "Hello <think>x</think>y"},
    {think, "<think>\n\n</think>\n\n", "Hello", "Hello"},
    // between marks
    {think, "", "<think>I'm\nthinking</think>Hello", "(I'm\nthinking)Hello"},
    {think, "", "\n<think>\nI\n\n</think>\n\nHello\n", "(I)Hello\n"},
    {think, "", "<think></think>Hello", "Hello"},
    {think, "", "<think>cut", "(cut)"},
    {think, "", "<thi", "<thi"},
    // opened by the prompt: DeepSeek R1, QwQ, Nemotron, MiniMax M2
    {think, "<think>\n", "I'm\nthinking\n</think>\nHello", "(I'm\nthinking)Hello"},
    {think, "<think>", "<think>again</think>Hello", "(again)Hello"},
    {think, "<think>", "</think>Hello", "Hello"},
    {think, "<think>", "a < b </thin", "(a < b </thin)"},
    {think, "<think>", "R</think><tool_call>{\"name\": \"add\", \"arguments\": {}}</tool_call>", "(R) |add{}"},
    {lfm2, "", "<think><|tool_call_start|>[add()]<|tool_call_end|> no</think><|tool_call_start|>[add(a=1)]<|tool_call_end|>",
     "(<|tool_call_start|>[add()]<|tool_call_end|> no) |add{\"a\":1}"},
    // families that call while they think
    {kimi, "", "<think>Now<|tool_calls_section_begin|><|tool_call_begin|>functions.add:0<|tool_call_argument_begin|>{}<|tool_call_end|>",
     "(Now) |add{}"},
    {dsml, "<think>", "Now\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"add\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
     "(Now) |add{}"},
    // other marks
    {seed, "", "<seed:think>I</seed:think>\nHello", "(I)Hello"},
    {command, "", "<|START_THINKING|>I<|END_THINKING|><|START_RESPONSE|>Hello<|END_RESPONSE|>", "(I)Hello"},
    {command, "", "<|START_RESPONSE|>Hello<|END_RESPONSE|>", "Hello"},
    {command, "<|START_THINKING|>", "I<|END_THINKING|><|START_ACTION|>[{\"tool_name\": \"add\", \"parameters\": {}}]<|END_ACTION|>",
     "(I) |add{}"},
    {granite, "", "<think>I</think><response>Hello</response>", "(I)Hello"},
    {ministral, "", "[THINK]I[/THINK]Hello", "(I)Hello"},
    {gemma, "", "<|channel>thought\nI<channel|>Hello", "(I)Hello"},
    {gemma, "", "<|channel>thought<channel|>Hello", "Hello"},
    {apriel, "Here are my reasoning steps:\n",
     "I\n[BEGIN FINAL RESPONSE]\n<tool_calls>[{\"name\": \"add\", \"arguments\": {}}]</tool_calls>", "(I) |add{}"},
    // gpt-oss
    {gpt_oss, harmony, "<|channel|>final<|message|>Hello", "Hello"},
    {gpt_oss, harmony, "<|channel|>commentary<|message|>Hello", "Hello"},
    {gpt_oss, harmony, "<|channel|>analysis<|message|>I'm\nthinking<|end|><|start|>assistant<|channel|>final<|message|>Hello",
     "(I'm\nthinking)Hello"},
    {gpt_oss, harmony, "<|channel|>analysis<|message|>cut", "(cut)"},
    {gpt_oss, harmony, " to=functions.add<|channel|>analysis<|message|>{\"a\": 1}", " |add{\"a\":1}"},
    {gpt_oss, harmony, "<|channel|>analysis to=functions.add<|message|>{\"a\": 1}", " |add{\"a\":1}"},
    {gpt_oss, harmony, " to=functions.add<|channel|>analysis <|constrain|>json<|message|>{\"a\": 1}", " |add{\"a\":1}"},
    {gpt_oss, harmony,
     "<|channel|>analysis<|message|>I<|end|><|start|>assistant<|channel|>commentary to=functions.add "
     "<|constrain|>json<|message|>{\"a\": \"<x>\"}<|call|>",
     "(I) |add{\"a\":\"<x>\"}"},
    {gpt_oss, harmony, "<|channel|>commentary<|message|>Wait.<|end|><|start|>assistant to=functions.add<|channel|>commentary<|message|>{}",
     "Wait. |add{}"},
    {gpt_oss, harmony, "<|channel|>commentary to=python <|constrain|>code<|message|>print(1)", ""},
    {gpt_oss, harmony, "<|channel|>commentary to=functions.other<|message|>{}", ""},
    {gpt_oss, harmony,
     "<|channel|>commentary to=assistant<|channel|>analysis<|message|>I<|end|><|start|>assistant<|channel|>final<|message|>Hello",
     "(I)Hello"},
    {gpt_oss, harmony, "<|channel|>final <|constrain|>json<|message|>{\"b\": 2}", "{\"b\": 2}"},
    {gpt_oss, harmony, "Plain", "Plain"},
    {gpt_oss, harmony, "", ""},
    // Functionary 3.2
    {functionary, ">>>", "all\nHello >>> there\n>>>no\n", "Hello >>> there\n>>>no\n"},
    {functionary, ">>>", "add\n{\"a\": \">>>\\n\"}", " |add{\"a\":\">>>\\n\"}"},
    {functionary, ">>>", "all\nFirst.>>>add\n{\"a\": 1}>>>add\n{}", "First. |add{\"a\":1} |add{}"},
    {functionary, ">>>", "add\nnot JSON", "add\nnot JSON"},
    {functionary, ">>>", "Plain", "Plain"},
};

// The real templates.
struct OfTemplate {
  const char* file;
  const char* answer;
  const char* wanted;
};
const OfTemplate of_templates[] = {
    {"openai-gpt-oss-120b", "<|channel|>analysis<|message|>I<|end|><|start|>assistant to=functions.add<|channel|>commentary<|message|>{}",
     "(I) |add{}"},
    {"llama-cpp-deepseek-r1",
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{}```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     " |add{}"},
    {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "<think>I</think>Hello", "(I)Hello"},
    {"deepseek-ai-DeepSeek-V3.1", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     " |add{}"},
    {"deepseek-ai-DeepSeek-V3.2", "<think>I<｜DSML｜function_calls><｜DSML｜invoke name=\"add\"></｜DSML｜invoke></｜DSML｜function_calls>",
     "(I) |add{}"},
    {"deepseek-ai-DeepSeek-V4", "<｜DSML｜tool_calls><｜DSML｜invoke name=\"add\"></｜DSML｜invoke></｜DSML｜tool_calls>", " |add{}"},
    {"Kimi-K2-Thinking",
     "<think>I</think><|tool_calls_section_begin|><|tool_call_begin|>functions.add:0<|tool_call_argument_begin|>{}<|tool_call_end|>"
     "<|tool_calls_section_end|>",
     "(I) |add{}"},
    {"moonshotai-Kimi-K2",
     "<|tool_calls_section_begin|><|tool_call_begin|>functions.add:0<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_"
     "end|>",
     " |add{}"},
    {"GLM-4.6", "\n<think>I</think>\n<tool_call>add\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>", "(I) |add{\"a\":1}"},
    {"GLM-4.7-Flash", "<think>I</think><tool_call>add<arg_key>a</arg_key><arg_value>1</arg_value></tool_call>", "(I) |add{\"a\":1}"},
    {"MiniMax-M1", "<tool_calls>\n{\"name\": \"add\", \"arguments\": {}}\n</tool_calls>", " |add{}"},
    {"MiniMax-M2", "<think>I</think><minimax:tool_call><invoke name=\"add\"></invoke></minimax:tool_call>", "(I) |add{}"},
    {"MiniMax-M3",
     "<mm:think>I</mm:think>]<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name=\"add\">]<]minimax[>[<a>1]<]minimax[>[</a>]<]minimax[>[</"
     "invoke>\n]<]minimax[>[</tool_call>",
     "(I) |add{\"a\":1}"},
    {"tencent-Hy3",
     "<think:opensource>I</think:opensource>Hm.<tool_calls:opensource>\n<tool_call:opensource>add<tool_sep:opensource>\n"
     "<arg_key:opensource>a</arg_key:opensource>\n<arg_value:opensource>1</arg_value:opensource>\n</tool_call:opensource>\n"
     "</tool_calls:opensource>",
     "(I)Hm. |add{\"a\":1}"},
    {"Kimi-K3",
     "<|open|>think<|sep|>I<|close|>think<|sep|><|open|>response<|sep|>Hm.<|close|>response<|sep|><|open|>tools<|sep|><|open|>call "
     "tool=\"add\" index=\"1\"<|sep|><|open|>argument key=\"a\" type=\"number\"<|sep|>1<|close|>argument<|sep|><|close|>call<|sep|>"
     "<|close|>tools<|sep|>",
     "(I)Hm. |add{\"a\":1}"},
    {"upstage-Solar-Open-100B", "<|think|>I<|end|><|begin|>assistant<|content|>Hello<|end|>", "(I)Hello"},
    {"upstage-Solar-Open-100B",
     "<|think|>I<|end|><|begin|>assistant<|tool_calls|><|tool_call:begin|>7<|tool_call:name|>add<|tool_call:args|>{}<|tool_call:end|>"
     "<|calls|>",
     "(I) |add{}"},
    {"meetkai-functionary-medium-v3.1", "<function=add>{}</function>", " |add{}"},
    {"meetkai-functionary-medium-v3.2", "all\nHello>>>add\n{}", "Hello |add{}"},
    {"CohereForAI-c4ai-command-r7b-12-2024-tool_use",
     "<|START_THINKING|>I<|END_THINKING|><|START_ACTION|>[{\"tool_call_id\": \"0\", \"tool_name\": \"add\", \"parameters\": "
     "{}}]<|END_ACTION|>",
     "(I) |add{}"},
    {"Cohere2MoE", "<|START_THINKING|>I<|END_THINKING|><|START_TEXT|>Hello<|END_TEXT|>", "(I)Hello"},
    {"CohereForAI-c4ai-command-r-plus-tool_use", "Action:\n```json\n[{\"tool_name\": \"add\", \"parameters\": {}}]\n```", " |add{}"},
    {"LFM2-8B-A1B", "Hm.<|tool_call_start|>[add(a=1)]<|tool_call_end|>", "Hm. |add{\"a\":1}"},
    {"LFM2.5-Instruct", "<|tool_call_start|>[add(a=1)]<|tool_call_end|>", " |add{\"a\":1}"},
    {"LFM2.5-8B-A1B", "<think>I</think><|tool_call_start|>[add(a=1)]<|tool_call_end|>", "(I) |add{\"a\":1}"},
    {"ibm-granite-granite-3.3-2B-Instruct", "<think>I</think><response>Hello</response>", "(I)Hello"},
    {"ibm-granite-granite-3.3-2B-Instruct", "<|tool_call|>[{\"name\": \"add\", \"arguments\": {}}]", " |add{}"},
    {"ibm-granite-granite-4.0", "<tool_call>\n{\"name\": \"add\", \"arguments\": {}}\n</tool_call>", " |add{}"},
    {"NVIDIA-Nemotron-Nano-v2", "<think>I</think>\n<TOOLCALL>[{\"name\": \"add\", \"arguments\": {}}]</TOOLCALL>", "(I) |add{}"},
    {"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "<think>I</think>\n<tool_call>\n<function=add>\n</function>\n</tool_call>", "(I) |add{}"},
    {"Apertus-8B-Instruct", "<|tools_prefix|>[{\"add\": {\"a\": 1}}]<|tools_suffix|>", " |add{\"a\":1}"},
    {"ByteDance-Seed-OSS", "<seed:think>I</seed:think><seed:tool_call>\n<function=add>\n</function>\n</seed:tool_call>", "(I) |add{}"},
    {"Qwen3-Coder", "<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>", " |add{\"a\":1}"},
    {"Qwen-Qwen3-0.6B", "<think>\nI\n</think>\n\n<tool_call>\n{\"name\": \"add\", \"arguments\": {}}\n</tool_call>", "(I) |add{}"},
    {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "<tool_call>\n{\"name\": \"add\", \"arguments\": {}}\n</tool_call>", " |add{}"},
    {"mistralai-Ministral-3-14B-Reasoning-2512", "[THINK]I[/THINK][TOOL_CALLS]add[ARGS]{}", "(I) |add{}"},
    {"Mistral-Small-3.2-24B-Instruct-2506", "[TOOL_CALLS]add[CALL_ID]123456789[ARGS]{}", " |add{}"},
    {"google-gemma-4-31B-it", "<|channel>thought\nI<channel|><|tool_call>call:add{a:1}<tool_call|>", "(I) |add{\"a\":1}"},
    {"GigaChat3-10B-A1.8B", "<|message_sep|>\n\nfunction call<|role_sep|>\n{\"name\": \"add\", \"arguments\": {}}", " |add{}"},
    {"GigaChat3.1-10B-A1.8B", "<|function_call|>{\"name\": \"add\", \"arguments\": {}}", " |add{}"},
    {"fireworks-ai-llama-3-firefunction-v2", " functools[{\"name\": \"add\", \"arguments\": {}}]", " |add{}"},
    {"openbmb-MiniCPM5-1B", "<function name=\"add\"><param name=\"a\">1</param></function>", " |add{\"a\":1}"},
    {"unsloth-Apriel-1.5", "<tool_calls>[{\"name\": \"add\", \"arguments\": {}}]</tool_calls>", " |add{}"},
    {"Qwen-Qwen2.5-7B-Instruct", "<think>x</think>", "<think>x</think>"},
};

ReaderOptions with_tools(AnswerStart start) {
  ReaderOptions options{.start = start, .finds_calls = true};
  options.tools.add("add");
  return options;
}

std::string read(const AnswerForm& form, const ReaderOptions& options, std::string_view answer, size_t piece) {
  AnswerPieces pieces;
  if (const auto reader = make_answer_reader(form, options)) {
    for (size_t at = 0; at < answer.size(); at += piece) reader->add(answer.substr(at, piece), pieces);
    reader->finish(pieces);
  } else {
    pieces.text = answer;
  }
  std::string shown = pieces.reasoning.empty() ? "" : "(" + pieces.reasoning + ")";
  shown += pieces.text;
  for (const ToolCall& call : pieces.calls) shown += " |" + call.name + call.arguments;
  return shown;
}

TEST(AnswerReader, EveryFamilyIsUnderstoodHoweverItIsSplit) {
  for (const Case& one : cases) {
    const AnswerForm form = answer_form(one.chat_template);
    const std::string_view answer = one.answer;
    for (size_t piece = 1; piece <= std::max<size_t>(answer.size(), 1); ++piece) {
      EXPECT_EQ(read(form, with_tools(start_after(form, one.prompt)), answer, piece), one.wanted)
          << "in pieces of " << piece << ": " << answer;
    }
  }
}

TEST(AnswerReader, EveryFamilyIsKnownByItsChatTemplate) {
  const char* folder = std::getenv("REALM_TEMPLATES");
  ASSERT_NE(folder, nullptr) << "set REALM_TEMPLATES to the folder that tools/fetch_templates.py prints";
  for (const OfTemplate& one : of_templates) {
    std::ifstream in(std::string(folder) + "/" + one.file + ".jinja");
    ASSERT_TRUE(in) << one.file;
    const AnswerForm form = answer_form(std::string((std::istreambuf_iterator<char>(in)), {}));
    EXPECT_EQ(read(form, with_tools(AnswerStart::anew), one.answer, 3), one.wanted) << one.file;
  }
}

TEST(AnswerReader, WithoutToolsCallsAreText) {
  const AnswerForm form = answer_form(think);
  EXPECT_EQ(read(form, {}, "<think>I</think><tool_call>{\"name\": \"add\"}</tool_call>", 5),
            "(I)<tool_call>{\"name\": \"add\"}</tool_call>");
  EXPECT_EQ(read(answer_form(functionary), {}, "all\nHello >>>add\n{}", 3), "Hello >>>add\n{}");
}

TEST(AnswerReader, ReasoningStaysInTheTextWhenThatIsAsked) {
  const ReaderOptions options{.reasoning_apart = false};
  EXPECT_EQ(read(answer_form(think), options, "<think>I</think>Hello", 4), "<think>I</think>Hello");
  EXPECT_EQ(
      read(answer_form(gpt_oss), options, "<|channel|>analysis<|message|>I<|end|><|start|>assistant<|channel|>final<|message|>Hello", 4),
      "<|channel|>analysis<|message|>I<|end|>Hello");
}

TEST(AnswerReader, AnAnswerThatBeginsWithItsTextHasNoReasoning) {
  for (const char* family : {think, gpt_oss, functionary, command}) {
    const AnswerForm form = answer_form(family);
    EXPECT_EQ(read(form, with_tools(AnswerStart::in_text), "Hello <think>", 2), "Hello <think>") << family;
    ReaderOptions constrained = with_tools(AnswerStart::in_text);
    constrained.constrained = true;
    EXPECT_EQ(read(form, constrained, "{\"name\": \"add\", \"arguments\": {}}", 2), " |add{}") << family;
  }
}

TEST(AnswerReader, ThePromptGoesAsFarAsTheTextWhenTheAnswerMustBegin) {
  EXPECT_EQ(lead_to_text(answer_form(think), "<|im_start|>assistant\n<think>\n"), "</think>");
  EXPECT_EQ(lead_to_text(answer_form(think), "<|im_start|>assistant\n"), "");
  EXPECT_EQ(lead_to_text(answer_form(gpt_oss), harmony), "<|channel|>final<|message|>");
  EXPECT_EQ(lead_to_text(answer_form(functionary), ">>>"), "all\n");
}

TEST(AnswerReader, TextIsGivenOutAsSoonAsItIsCertain) {
  const auto reader = make_answer_reader(answer_form(think), {.start = AnswerStart::in_reasoning});
  AnswerPieces pieces;
  reader->add("One two ", pieces);
  EXPECT_EQ(pieces.reasoning, "One two");
  EXPECT_TRUE(reader->in_reasoning());
  reader->add("three </th", pieces);
  EXPECT_EQ(pieces.reasoning, "One two three");
  reader->add("ink>\nHello", pieces);
  EXPECT_EQ(pieces.text, "Hello");
  EXPECT_FALSE(reader->in_reasoning());
}

TEST(AnswerReader, AnyTextReadsTheSameHoweverItIsSplit) {
  std::mt19937 random(5);
  const std::string_view parts[] = {"<think>",
                                    "</think>",
                                    "<|channel|>",
                                    "<|message|>",
                                    "<|end|>",
                                    "<|start|>assistant",
                                    " to=functions.add",
                                    "analysis",
                                    "final",
                                    "{}",
                                    ">>>",
                                    "all\n",
                                    "add\n",
                                    "<|START_RESPONSE|>",
                                    "x",
                                    " ",
                                    "<|tool_calls_section_begin|>"};
  for (const char* family : {think, kimi, command, gpt_oss, functionary}) {
    const AnswerForm form = answer_form(family);
    for (int round = 0; round < 5'000; ++round) {
      std::string text;
      for (uint32_t i = random() % 10; i > 0; --i) text += parts[random() % std::size(parts)];
      const ReaderOptions options = with_tools(static_cast<AnswerStart>(random() % 3));
      if (options.start == AnswerStart::in_reasoning && form.kind != AnswerForm::Kind::tagged) continue;
      EXPECT_EQ(read(form, options, text, 1 + random() % 7), read(form, options, text, text.size() + 1)) << family << ": " << text;
    }
  }
}

}  // namespace
}  // namespace realm
