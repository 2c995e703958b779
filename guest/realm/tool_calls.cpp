#include "realm/tool_calls.h"

#include <algorithm>
#include <array>

#include "realm/call_text.h"

namespace realm {
namespace {

// Looked for always: Hermes and Qwen, Qwen3-Coder, Granite 4, GLM; Llama 3.1, Functionary 3.1; Mistral; Llama 3.x.
constexpr std::array common_markers = {CallMarker{"<tool_call>", "</tool_call>", CallForm::open},
                                       CallMarker{"<function=", "</function>", CallForm::function, true},
                                       CallMarker{"[TOOL_CALLS]", "", CallForm::open}, CallMarker{"<|python_tag|>", "", CallForm::json}};

// Looked for when the chat template has the text that tells the family.
struct FamilyMarker {
  std::string_view mention;
  CallMarker marker;
};
constexpr std::array family_markers = {
    FamilyMarker{"<seed:tool_call>", {"<seed:tool_call>", "</seed:tool_call>", CallForm::open}},
    FamilyMarker{"<minimax:tool_call>", {"<minimax:tool_call>", "</minimax:tool_call>", CallForm::invoke}},
    FamilyMarker{"<tool_calls>", {"<tool_calls>", "</tool_calls>", CallForm::json}},                    // MiniMax M1, Apriel
    FamilyMarker{"<TOOLCALL>", {"<TOOLCALL>", "</TOOLCALL>", CallForm::json}},                          // Nemotron
    FamilyMarker{"<|tools_prefix|>", {"<|tools_prefix|>", "<|tools_suffix|>", CallForm::by_name}},      // Apertus
    FamilyMarker{"tool_list_start|>", {"<|tool_call_start|>", "<|tool_call_end|>", CallForm::python}},  // LFM2
    FamilyMarker{"List of tools: [", {"<|tool_call_start|>", "<|tool_call_end|>", CallForm::python}},   // LFM2.5
    FamilyMarker{"<|tool_call|>", {"<|tool_call|>", "", CallForm::json}},                               // Granite 3
    FamilyMarker{"<|START_ACTION|>", {"<|START_ACTION|>", "<|END_ACTION|>", CallForm::json}},           // Command R7B and later
    FamilyMarker{"Action:\\n```json", {"Action:", "", CallForm::json}},                                 // Command R+
    FamilyMarker{"<|tool_calls_section_begin|>", {"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", CallForm::kimi}},
    FamilyMarker{"<|tool_calls_section_begin|>", {"<|tool_call_begin|>", "<|tool_call_end|>", CallForm::kimi}},
    FamilyMarker{"<｜tool▁call▁begin｜>", {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", CallForm::deepseek}},
    FamilyMarker{"<｜tool▁call▁begin｜>", {"<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", CallForm::deepseek}},
    FamilyMarker{"｜DSML｜", {"<｜DSML｜function_calls>", "</｜DSML｜function_calls>", CallForm::dsml}},            // DeepSeek V3.2
    FamilyMarker{"｜DSML｜", {"<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>", CallForm::dsml}},                    // DeepSeek V4
    FamilyMarker{"<|tool_call>call:", {"<|tool_call>", "<tool_call|>", CallForm::gemma}},                           // Gemma 4
    FamilyMarker{"<|function_call|>", {"<|function_call|>", "", CallForm::json}},                                   // GigaChat 3.1
    FamilyMarker{"'role': 'function call'", {"<|message_sep|>\n\nfunction call<|role_sep|>", "", CallForm::json}},  // GigaChat 3
    FamilyMarker{"functools[", {"functools", "", CallForm::json}},                                                  // Firefunction
    FamilyMarker{"]<]minimax[>[", {"]<]minimax[>[<tool_call>", "]<]minimax[>[</tool_call>", CallForm::minimax3}},
    FamilyMarker{"HYTK = ':opensource'", {"<tool_calls:opensource>", "</tool_calls:opensource>", CallForm::hunyuan3}},
    FamilyMarker{"xtml_type", {"<|open|>tools<|sep|>", "<|close|>tools<|sep|>", CallForm::kimi3}},         // Kimi K3
    FamilyMarker{"<|tool_call:begin|>", {"<|tool_call:begin|>", "<|tool_call:end|>", CallForm::solar}},    // Solar Open
    FamilyMarker{"<function name=\"", {"<function name=\"", "</function>", CallForm::parameters, true}}};  // MiniCPM 5

// An answer that begins like this may be a call from end to end.
constexpr std::array whole_answers = {std::string_view("{"), std::string_view("[{"), std::string_view("```")};

}  // namespace

std::vector<CallMarker> call_markers(std::string_view chat_template) {
  std::vector<CallMarker> markers(common_markers.begin(), common_markers.end());
  for (const FamilyMarker& family : family_markers) {
    if (chat_template.find(family.mention) != std::string_view::npos) markers.push_back(family.marker);
  }
  return markers;
}

// The length of the longest end of the held text that may be the beginning of a marker.
size_t ToolCallParser::possible_marker() const {
  size_t longest = 0;
  const std::string_view text = held_;
  for (const CallMarker& marker : markers_) {
    for (size_t length = std::min(marker.open.size() - 1, text.size()); length > longest; --length) {
      if (text.ends_with(marker.open.substr(0, length))) longest = length;
    }
  }
  return longest;
}

ToolCallParser::Found ToolCallParser::next_marker() const {
  Found next{.marker = nullptr, .at = std::string::npos};
  for (const CallMarker& marker : markers_) {
    const size_t at = held_.find(marker.open);
    if (at < next.at) next = {&marker, at};
  }
  return next;
}

void ToolCallParser::give(size_t length, AnswerPieces& out) {
  out.text += held_.substr(0, length);
  begun_ = begun_ || held_.find_first_not_of(spaces) < length;
  held_.erase(0, length);
}

// Spaces before a call are no text of the answer.
void ToolCallParser::give_text_before(size_t end, AnswerPieces& out) {
  const size_t last = end == 0 ? std::string::npos : held_.find_last_not_of(spaces, end - 1);
  if (last != std::string::npos) give(last + 1, out);
}

ToolCallParser::Whole ToolCallParser::whole_answer(AnswerPieces& out, bool at_end) {
  const size_t first = held_.find_first_not_of(spaces);
  if (first == std::string::npos) {
    if (at_end) give(held_.size(), out);
    return Whole::wait;
  }
  const std::string_view rest = std::string_view(held_).substr(first);
  const bool whole = std::any_of(whole_answers.begin(), whole_answers.end(), [rest, at_end](std::string_view begin) {
    return rest.starts_with(begin) || (!at_end && begin.starts_with(rest));
  });
  if (!whole) return Whole::no;
  if (!at_end) return Whole::wait;
  if (!read_calls(CallForm::json, held_, tools_, out.calls)) {
    give(held_.size(), out);
  } else {
    held_.clear();
  }
  return Whole::taken;
}

// Takes one piece off the held text. False when more text is needed first.
bool ToolCallParser::step(AnswerPieces& out, bool at_end) {
  if (held_.empty() || (!begun_ && whole_answer(out, at_end) != Whole::no)) return false;
  const auto [marker, at] = next_marker();
  if (marker == nullptr) {
    if (at_end) {
      give(held_.size(), out);
    } else {
      give_text_before(held_.size() - possible_marker(), out);
    }
    return false;
  }
  const size_t body = at + marker->open.size();
  const size_t end = marker->close.empty() ? std::string::npos : held_.find(marker->close, body);
  if (end == std::string::npos && !at_end) {
    give_text_before(at, out);
    return false;
  }
  const size_t body_end = end == std::string::npos ? held_.size() : end;
  const size_t stop = end == std::string::npos ? held_.size() : end + marker->close.size();
  const size_t from = marker->keeps_open ? at : body;
  std::vector<ToolCall> calls;
  // A form that keeps its marker is read with its end.
  if (!read_calls(marker->form, std::string_view(held_).substr(from, (marker->keeps_open ? stop : body_end) - from), tools_, calls)) {
    give(stop, out);
    return true;
  }
  const size_t last = at == 0 ? std::string::npos : held_.find_last_not_of(spaces, at - 1);
  if (last != std::string::npos) out.text += held_.substr(0, last + 1);
  out.calls.insert(out.calls.end(), calls.begin(), calls.end());
  held_.erase(0, stop);
  begun_ = true;
  return true;
}

void ToolCallParser::add(std::string_view text, AnswerPieces& out) {
  held_ += text;
  while (step(out, false)) {
  }
}

void ToolCallParser::finish(AnswerPieces& out) {
  while (step(out, true)) {
  }
  // What is left is text; after calls spaces alone are none.
  if (held_.find_first_not_of(spaces) != std::string::npos) out.text += held_;
  held_.clear();
}

}  // namespace realm
