#include "realm/chat_template.h"

#include "include/realm.hpp"
#include "jinja/lexer.h"
#include "jinja/parser.h"
#include "jinja/runtime.h"
#include "jinja/value.h"
#include "lib/exceptions.h"
#include "realm/loop_control.h"
#include "realm/utf8_assembler.h"

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

// A template read once, to be rendered any number of times.
struct Parsed {
  explicit Parsed(const std::string& text) {
    jinja::lexer lexer;
    jinja::lexer_result tokens = lexer.tokenize(text.empty() ? chatml : text);
    program = jinja::parse_from_tokens(tokens);
    source = std::move(tokens.source);
    if (source.find("break") != std::string::npos || source.find("continue") != std::string::npos) rewrite_loop_control(program);
  }
  std::string source;
  jinja::program program;
};

// Names under which templates know what a request calls preserve_reasoning and reasoning_effort, as in llama.cpp.
void set_reasoning(const common_json& arguments, common_json& variables) {
  if (arguments.contains("preserve_reasoning") && arguments.at("preserve_reasoning").is_boolean()) {
    const bool kept = arguments.at("preserve_reasoning").get<bool>();
    variables["preserve_thinking"] = kept;
    for (const char* name : {"clear_thinking", "truncate_history_thinking", "drop_thinking"}) variables[name] = !kept;
  }
  const std::string effort = text_of(arguments, "reasoning_effort");
  if (!effort.empty()) variables["reasoning_strength"] = effort;
}

common_json variables_of(const TemplateInput& input, const TemplateMode& mode) {
  common_json messages = mode.merge_system ? merge_system(input.messages) : input.messages;
  if (mode.typed_content) messages = type_content(messages);
  common_json variables = common_json::object();
  variables["messages"] = std::move(messages);
  variables["bos_token"] = input.bos_token;
  variables["eos_token"] = input.eos_token;
  variables["enable_thinking"] = true;
  if (input.tools.is_array() && !input.tools.empty()) variables["tools"] = input.tools;
  if (input.arguments.is_object()) {
    set_reasoning(input.arguments, variables);
    for (const auto& [name, value] : input.arguments.items()) variables[name] = value;
  }
  if (input.add_generation_prompt) variables["add_generation_prompt"] = true;
  return variables;
}

std::string render(const Parsed& parsed, const TemplateInput& input, const TemplateMode& mode) {
  jinja::context context(parsed.source);
  jinja::global_from_json(context, variables_of(input, mode), false);
  jinja::runtime runtime(context);
  return jinja::runtime::gather_string_parts(runtime.execute(parsed.program))->as_string().str();
}

// What the throw handler needs to know; there is one rendering at a time.
struct Attempt {
  enum { parsing, rendering, improving, over } stage = over;
  bool system_message = false;
  TemplateMode mode;  // of the rendering that counts; while improving, of the one that is there already
} attempt;

// Goes another way in a fresh instance, or gives the request up.
void on_throw(const char* message) {
  if (attempt.stage == Attempt::over) return;
  if (attempt.stage == Attempt::parsing) fail(REALM_FAIL_PROGRAM, std::string("the model's chat template is broken: ") + message);
  TemplateMode next = attempt.mode;
  if (attempt.stage == Attempt::improving) {
    next.settled = true;
    restart(next.note());
  } else if (!next.settled && !next.merge_system && attempt.system_message) {
    next.merge_system = true;
    restart(next.note());
  } else if (!next.settled && !next.typed_content) {
    restart(TemplateMode{.typed_content = true, .complaint = message}.note());
  }
  const std::string& complaint = attempt.mode.complaint;
  fail(REALM_FAIL_BAD_REQUEST,
       std::string("messages: the model's chat template refuses them: ") + (complaint.empty() ? message : complaint.c_str()));
}

// `rendered`, or what `mode` makes of the messages when that alone has the texts of `role`.
std::string improved(const Parsed& parsed, const TemplateInput& input, const TemplateMode& mode, const char* role, std::string rendered) {
  attempt.stage = Attempt::improving;
  std::string other = render(parsed, input, mode);
  attempt.stage = Attempt::rendering;
  if (lost(input.messages, role, other)) return rendered;
  attempt.mode = mode;
  return other;
}

}  // namespace

// Words of the mode, and after a line feed the complaint, cut between characters.
std::string TemplateMode::note() const {
  constexpr size_t complaint_bytes_max = 192;
  const std::string_view cut = std::string_view(complaint).substr(0, complaint_bytes_max);
  return std::string(note_stem) + (merge_system ? " merge-system" : "") + (typed_content ? " typed-content" : "") +
         (settled ? " settled" : "") + '\n' + std::string(cut.substr(0, valid_utf8_prefix(cut)));
}

TemplateMode TemplateMode::from_note(const std::string& note) {
  if (!note.starts_with(note_stem)) return {};
  const size_t line = note.find('\n');
  const auto has = [words = note.substr(0, line)](const char* word) { return words.find(word) != std::string::npos; };
  return {.merge_system = has(" merge-system"),
          .typed_content = has(" typed-content"),
          .settled = has(" settled"),
          .complaint = line == std::string::npos ? std::string() : note.substr(line + 1)};
}

std::string render_template_in(const TemplateInput& input, const TemplateMode& mode) { return render(Parsed(input.source), input, mode); }

std::string render_template(const TemplateInput& input) {
  set_throw_handler(on_throw);
  attempt = {.stage = Attempt::parsing, .system_message = has_system(input.messages), .mode = TemplateMode::from_note(restart_note())};
  const Parsed parsed(input.source);
  attempt.stage = Attempt::rendering;
  std::string rendered = render(parsed, input, attempt.mode);
  if (!attempt.mode.settled && !attempt.mode.typed_content && lost(input.messages, "user", rendered)) {
    TemplateMode typed = attempt.mode;
    typed.typed_content = true;
    rendered = improved(parsed, input, typed, "user", std::move(rendered));
  }
  if (!attempt.mode.settled && !attempt.mode.merge_system && lost(input.messages, "system", rendered)) {
    TemplateMode merged = attempt.mode;
    merged.merge_system = true;
    rendered = improved(parsed, input, merged, "system", std::move(rendered));
  }
  attempt.stage = Attempt::over;
  return rendered;
}

}  // namespace realm
