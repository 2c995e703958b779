// A model's chat template with a customer's messages. The first line is a JSON array of messages, the rest the template.
//
// A template that loops for ever is stopped by the sandbox, which is not here; one that might is read and not run.
#include "realm/chat_template.h"

#include <algorithm>
#include <exception>

#include "fuzz/fuzz_target.h"
#include "jinja/lexer.h"
#include "jinja/parser.h"
#include "realm/json_fields.h"

namespace {

size_t count(std::string_view text, std::string_view word) {
  size_t found = 0;
  for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) ++found;
  return found;
}

bool may_take_long(std::string_view source) {
  const auto has = [&](const char* word) { return count(source, word) > 0; };
  return count(source, "for") > 2 || has("macro") || has("range") || has("indent") || has("*") || has("replace") || has("join");
}

}  // namespace

REALM_FUZZ_TARGET(chat_template, bytes) {
  using namespace realm;
  const size_t line = std::min(bytes.find('\n'), bytes.size());
  common_json object;
  if (parse_object("{\"messages\":" + std::string(bytes.substr(0, line)) + "}", object) || !object["messages"].is_array()) return;
  TemplateInput input;
  input.messages = object["messages"];
  input.source = bytes.substr(std::min(line + 1, bytes.size()));
  try {
    if (may_take_long(input.source)) {
      jinja::lexer lexer;
      const auto tokens = lexer.tokenize(input.source);
      jinja::parse_from_tokens(tokens);
    } else {
      render_template(input);
    }
  } catch (const std::exception&) {  // the sandbox's end of an instance
  }
}
