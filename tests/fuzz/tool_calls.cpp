// What a model writes, told apart into reasoning, text and calls. It does not depend on how the text was cut into pieces.
#include "base/check.h"
#include "fuzz/fuzz_choices.h"
#include "fuzz/fuzz_target.h"
#include "realm/answer_reader.h"

namespace {

using namespace realm;

// What tells a family by its chat template.
constexpr const char* families[] = {"",
                                    "{{ '<think>' }} </think>",
                                    "<think></think> <|tool_calls_section_begin|><|tool_call_begin|>",
                                    "<seed:think> <seed:tool_call>",
                                    "<think> <|tool_list_start|> <|tool_call_start|>",
                                    "<think> </think> ｜DSML｜",
                                    "<|START_THINKING|> <|START_RESPONSE|> <|START_ACTION|>",
                                    "<think></think><response></response> <|tool_call|>",
                                    "[THINK] [TOOL_CALLS]",
                                    "<|channel>thought <|tool_call>call:",
                                    "Here are my reasoning steps:\n [BEGIN FINAL RESPONSE] <tool_calls>",
                                    "<|start|>assistant<|channel|>",
                                    ">>>all >>>${recipient}",
                                    "<｜tool▁calls▁begin｜>",
                                    "]<]minimax[>[",
                                    "HYTK = ':opensource'",
                                    "xtml_type",
                                    "<|tool_call:begin|>"};

void add(AnswerPieces& all, const AnswerPieces& some) {
  all.reasoning += some.reasoning;
  all.text += some.text;
  all.calls.insert(all.calls.end(), some.calls.begin(), some.calls.end());
}

template <class Cut>
AnswerPieces read(const AnswerForm& form, const ReaderOptions& options, const Cut& cut) {
  AnswerPieces all;
  const auto reader = make_answer_reader(form, options);
  if (!reader) return all;
  cut([&](std::string_view piece) {
    AnswerPieces some;
    reader->add(piece, some);
    add(all, some);
  });
  AnswerPieces rest;
  reader->finish(rest);
  add(all, rest);
  return all;
}

}  // namespace

REALM_FUZZ_TARGET(tool_calls, bytes) {
  const AnswerForm form = answer_form(families[fuzz::take_byte(bytes) % std::size(families)]);
  const uint8_t flags = fuzz::take_byte(bytes);
  ReaderOptions options;
  options.start = static_cast<AnswerStart>(flags % 3);
  options.reasoning_apart = (flags & 4) == 0;
  options.constrained = (flags & 8) != 0;
  options.finds_calls = (flags & 16) == 0;
  options.tools.add("add", common_json::parse(R"({"properties": {"a": {"type": "string"}, "b": {"type": "object"}}})"));
  options.tools.add("get", nullptr);
  const auto whole = read(form, options, [&](const auto& give) { give(bytes); });
  fuzz::Choices choices(bytes);
  const auto pieces = read(form, options, [&](const auto& give) { fuzz::in_pieces(bytes, choices, give); });
  REALM_CHECK(whole.reasoning == pieces.reasoning && whole.text == pieces.text && whole.calls.size() == pieces.calls.size());
  for (size_t i = 0; i < whole.calls.size(); ++i) {
    REALM_CHECK(whole.calls[i].name == pieces.calls[i].name && whole.calls[i].arguments == pieces.calls[i].arguments);
    REALM_CHECK(!common_json::parse_no_throw(whole.calls[i].arguments).is_discarded());
  }
}
