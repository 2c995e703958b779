#include "realm/chat_template.h"

#include "include/realm.hpp"
#include "jinja/lexer.h"
#include "jinja/parser.h"
#include "jinja/runtime.h"
#include "jinja/value.h"
#include "lib/exceptions.h"
#include "realm/loop_control.h"

namespace realm {
namespace {

constexpr const char* chatml =
    "{%- for message in messages -%}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

constexpr const char* note_stem = "template:";

std::string text_of(const common_json& message, const std::string& field) {
  return message.contains(field) && message.at(field).is_string() ? message.at(field).get<std::string>() : std::string();
}

bool has_system(const common_json& messages) {
  for (const auto& message : messages) {
    if (text_of(message, "role") == "system") return true;
  }
  return false;
}

common_json merge_system(const common_json& messages) {
  std::string system;
  common_json merged = common_json::array();
  for (const auto& message : messages) {
    if (text_of(message, "role") == "system") {
      system += (system.empty() ? "" : "\n") + text_of(message, "content");
      continue;
    }
    common_json copy = message;
    if (!system.empty() && text_of(copy, "role") == "user") {
      copy["content"] = system + "\n" + text_of(copy, "content");
      system.clear();
    }
    merged.push_back(copy);
  }
  if (!system.empty()) {
    common_json user = common_json::object();
    user["role"] = "user";
    user["content"] = system;
    merged.push_back(user);
  }
  return merged;
}

common_json type_content(const common_json& messages) {
  common_json typed = common_json::array();
  for (const auto& message : messages) {
    common_json copy = message;
    if (copy.contains("content") && copy.at("content").is_string()) {
      common_json part = common_json::object();
      part["type"] = "text";
      part["text"] = copy.at("content").get<std::string>();
      common_json parts = common_json::array();
      parts.push_back(part);
      copy["content"] = parts;
    }
    typed.push_back(copy);
  }
  return typed;
}

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// Whether the texts of a role survived rendering. The first line is enough, since templates may indent or escape.
bool lost(const common_json& messages, const std::string& role, const std::string& rendered) {
  for (const auto& message : messages) {
    if (text_of(message, "role") != role) continue;
    std::string text = trimmed(text_of(message, "content"));
    text.resize(std::min(text.size(), text.find('\n')));
    if (!text.empty() && rendered.find(text) == std::string::npos) return true;
  }
  return false;
}

// What the throw handler needs to know; there is one rendering at a time.
struct Attempt {
  bool running = false;
  bool system_message = false;
  TemplateMode mode;
} attempt;

// The template raised: try the next way in a fresh instance, or give the request up.
void on_throw(const char* message) {
  if (!attempt.running) return;
  TemplateMode next = attempt.mode;
  if (!next.merge_system && attempt.system_message) {
    next.merge_system = true;
    restart(next.note());
  } else if (!next.typed_content) {
    next = {.merge_system = false, .typed_content = true};
    restart(next.note());
  }
  fail(REALM_FAIL_BAD_REQUEST, std::string("messages: the model's chat template refuses them: ") + message);
}

}  // namespace

std::string TemplateMode::note() const {
  return std::string(note_stem) + (merge_system ? "merge-system " : "") + (typed_content ? "typed-content" : "");
}

TemplateMode TemplateMode::from_note(const std::string& note) {
  return {.merge_system = note.find("merge-system") != std::string::npos, .typed_content = note.find("typed-content") != std::string::npos};
}

std::string render_template_in(const TemplateInput& input, TemplateMode mode) {
  common_json messages = mode.merge_system ? merge_system(input.messages) : input.messages;
  if (mode.typed_content) messages = type_content(messages);

  common_json variables = common_json::object();
  variables["messages"] = messages;
  variables["bos_token"] = input.bos_token;
  variables["eos_token"] = input.eos_token;
  variables["enable_thinking"] = true;
  if (input.tools.is_array() && !input.tools.empty()) variables["tools"] = input.tools;
  if (input.arguments.is_object()) {
    for (const auto& [name, value] : input.arguments.items()) variables[name] = value;
  }
  if (input.add_generation_prompt) variables["add_generation_prompt"] = true;

  jinja::lexer lexer;
  const jinja::lexer_result tokens = lexer.tokenize(input.source.empty() ? chatml : input.source);
  jinja::program program = jinja::parse_from_tokens(tokens);
  if (tokens.source.find("break") != std::string::npos || tokens.source.find("continue") != std::string::npos) {
    rewrite_loop_control(program);
  }
  jinja::context context(tokens.source);
  jinja::global_from_json(context, variables, false);
  jinja::runtime runtime(context);
  return jinja::runtime::gather_string_parts(runtime.execute(program))->as_string().str();
}

std::string render_template(const TemplateInput& input) {
  set_throw_handler(on_throw);
  attempt = {.running = true, .system_message = has_system(input.messages), .mode = TemplateMode::from_note(restart_note())};
  std::string rendered = render_template_in(input, attempt.mode);
  if (!attempt.mode.typed_content && lost(input.messages, "user", rendered)) {
    attempt.mode.typed_content = true;
    rendered = render_template_in(input, attempt.mode);
  }
  if (!attempt.mode.merge_system && lost(input.messages, "system", rendered)) {
    attempt.mode.merge_system = true;
    rendered = render_template_in(input, attempt.mode);
  }
  attempt.running = false;
  return rendered;
}

}  // namespace realm
