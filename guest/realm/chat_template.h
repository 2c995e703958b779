// A model's chat template, rendered with llama.cpp's Jinja engine inside the sandbox.
//
// A template is a program of the model's author fed with a customer's text, so it may raise, loop or blow up; all of that stays in
// this instance. Templates differ in what they can take: some raise on a system message, some drop it, some want content as a list
// of parts. What a template cannot take is found by trying: a rendering that lacks a text is done again in another way, and one that
// raises ends the instance, whose successor finds in the restart note which way to go next. A text may also be missing because the
// template escapes or changes it, so another way counts only when it brings the text back.
#pragma once

#include <string>

#include "json.h"

namespace realm {

struct TemplateInput {
  std::string source;     // Jinja; empty: ChatML
  common_json messages;   // content as strings
  common_json tools;      // null: none
  common_json arguments;  // further variables; null: none
  std::string bos_token;  // text; empty when there is none
  std::string eos_token;
  bool add_generation_prompt = true;
};

// How messages are put to a template that does not take them as they are.
struct TemplateMode {
  bool merge_system = false;   // the system text goes in front of the first user message
  bool typed_content = false;  // content as [{"type": "text", "text": ...}]
  bool settled = false;        // take what this gives: the other ways were tried
  std::string complaint;       // what the template said to the messages with plain content; empty: nothing

  std::string note() const;  // at most 256 bytes
  static TemplateMode from_note(const std::string& note);
};

// The rendered prompt in one fixed mode. Throws what the engine throws.
std::string render_template_in(const TemplateInput& input, const TemplateMode& mode);

// The rendered prompt in the mode that suits the template; restarts the instance as described above. Fails the request with the
// template's own message when nothing suits, and as the program's fault when the template is not Jinja at all.
std::string render_template(const TemplateInput& input);

}  // namespace realm
