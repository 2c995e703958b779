// How a family of models writes its answers, as far as its chat template tells.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "realm/reasoning.h"
#include "realm/tool_calls.h"

namespace realm {

struct AnswerForm {
  enum class Kind : uint8_t {
    tagged,      // text with marks in it
    channels,    // gpt-oss: messages with a channel and a recipient each
    recipients,  // Functionary 3.2: >>>recipient, a line feed, and what is for it
  };
  Kind kind = Kind::tagged;
  ReasoningMarks reasoning;         // of tagged answers
  std::vector<CallMarker> markers;  // of tagged answers

  // Its marks are control tokens, at least in some models.
  bool has_marks() const { return kind != Kind::tagged || !reasoning.open.empty() || !reasoning.dropped.empty(); }
};

AnswerForm answer_form(std::string_view chat_template);

// Where in the form an answer begins.
enum class AnswerStart : uint8_t {
  anew,          // at its beginning
  in_reasoning,  // the prompt has opened the reasoning
  in_text,       // the prompt goes as far as the text itself
};

AnswerStart start_after(const AnswerForm& form, std::string_view prompt);

// What has to follow `prompt` so that the answer's text begins at once.
std::string lead_to_text(const AnswerForm& form, std::string_view prompt);

}  // namespace realm
