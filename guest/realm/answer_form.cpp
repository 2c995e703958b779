#include "realm/answer_form.h"

#include <array>

#include "realm/call_text.h"

namespace realm {
namespace {

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

struct Marks {
  std::string_view open;
  std::string_view close;
  std::string_view mention = {};  // what the chat template has; empty: one of the marks
};
constexpr std::array known_reasoning = {Marks{"<think:opensource>", "</think:opensource>", "HYTK = ':opensource'"},  // Hunyuan 3
                                        Marks{"<|open|>think<|sep|>", "<|close|>think<|sep|>", "xtml_type"},         // Kimi K3
                                        Marks{"<|think|>", "<|end|>", "<|tool_call:begin|>"},                        // Solar Open
                                        Marks{"<|START_THINKING|>", "<|END_THINKING|>"},  // Command R7B and later
                                        Marks{"<seed:think>", "</seed:think>"},
                                        Marks{"<mm:think>", "</mm:think>"},
                                        Marks{"[THINK]", "[/THINK]"},                                     // Magistral, Ministral
                                        Marks{"<|channel>thought", "<channel|>"},                         // Gemma 4
                                        Marks{"Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"},  // Apriel
                                        Marks{"<think>", "</think>"}};
// Around the text of an answer.
constexpr std::array known_frames = {Marks{"<|START_RESPONSE|>", "<|END_RESPONSE|>"},
                                     Marks{"<|START_TEXT|>", "<|END_TEXT|>"},
                                     Marks{"<response>", "</response>"},
                                     Marks{"<|open|>response<|sep|>", "<|close|>response<|sep|>", "xtml_type"},
                                     Marks{"<|begin|>assistant", "<|end|>", "<|tool_call:begin|>"},
                                     Marks{"<|content|>", "<|flush|>", "<|tool_call:begin|>"},
                                     Marks{"<|tool_calls|>", "<|calls|>", "<|tool_call:begin|>"}};
// Calls that end reasoning which was not closed, in families that do so.
constexpr std::array closing_calls = {std::string_view("<|tool_calls_section_begin|>"), std::string_view("<|tool_call_begin|>"),
                                      std::string_view("<｜DSML｜function_calls>"), std::string_view("<｜DSML｜tool_calls>")};

bool is_known(std::string_view chat_template, const Marks& marks) {
  return marks.mention.empty() ? has(chat_template, marks.open) || has(chat_template, marks.close) : has(chat_template, marks.mention);
}

std::string_view without_trailing_spaces(std::string_view text) { return text.substr(0, text.find_last_not_of(spaces) + 1); }

ReasoningMarks reasoning_marks(std::string_view chat_template, const std::vector<CallMarker>& markers) {
  ReasoningMarks marks;
  for (const Marks& known : known_reasoning) {
    if (!is_known(chat_template, known)) continue;
    marks.open = known.open;
    marks.close = known.close;
    break;
  }
  for (const CallMarker& marker : markers) {
    for (const std::string_view closing : closing_calls) {
      if (!marks.open.empty() && marker.open == closing) marks.ends.push_back(closing);
    }
  }
  for (const Marks& frame : known_frames) {
    if (!is_known(chat_template, frame)) continue;
    marks.dropped.push_back(frame.open);
    marks.dropped.push_back(frame.close);
  }
  return marks;
}

}  // namespace

AnswerForm answer_form(std::string_view chat_template) {
  AnswerForm form;
  if (has(chat_template, "<|channel|>")) {
    form.kind = AnswerForm::Kind::channels;
  } else if (has(chat_template, ">>>all") && has(chat_template, ">>>${recipient}")) {
    form.kind = AnswerForm::Kind::recipients;
  }
  form.markers = call_markers(chat_template);
  if (form.kind == AnswerForm::Kind::tagged) form.reasoning = reasoning_marks(chat_template, form.markers);
  return form;
}

AnswerStart start_after(const AnswerForm& form, std::string_view prompt) {
  const bool open = !form.reasoning.open.empty() && without_trailing_spaces(prompt).ends_with(form.reasoning.open);
  return open ? AnswerStart::in_reasoning : AnswerStart::anew;
}

std::string lead_to_text(const AnswerForm& form, std::string_view prompt) {
  switch (form.kind) {
    case AnswerForm::Kind::channels:
      return "<|channel|>final<|message|>";
    case AnswerForm::Kind::recipients:
      return "all\n";
    case AnswerForm::Kind::tagged:
      break;
  }
  return start_after(form, prompt) == AnswerStart::in_reasoning ? std::string(form.reasoning.close) : std::string();
}

}  // namespace realm
