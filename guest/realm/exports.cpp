// What realm.wasm exports.
#include "include/realm.hpp"
#include "lib/exceptions.h"
#include "realm/chat_template.h"
#include "realm/generation.h"
#include "realm/request.h"
#include "realm/routes.h"
#include "realm/utf8_assembler.h"

namespace realm {
namespace {

class EmittedAnswer : public AnswerSink {
 public:
  void on_text(uint32_t, const std::string& text) override { emit(REALM_EMIT_TEXT, text); }
};

class CollectedAnswer : public AnswerSink {
 public:
  void on_text(uint32_t, const std::string& text) override { text_ += text; }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// A result as the embedder reads it: its length in 32 bits, the bytes, a zero byte.
uint8_t* boxed(const std::string& text) {
  auto* box = new uint8_t[text.size() + 5];
  const auto length = static_cast<uint32_t>(text.size());
  for (int i = 0; i < 4; ++i) box[i] = static_cast<uint8_t>(length >> (8 * i));
  std::copy(text.begin(), text.end(), box + 4);
  box[4 + text.size()] = 0;
  return box;
}

}  // namespace
}  // namespace realm

// The version of the program ABI that this module was built for; never called.
REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

// Serves the request of this instance.
REALM_EXPORT("handle") int32_t realm_handle_request() {
  if (const std::string route = realm::request_text(REALM_REQUEST_ROUTE); !route.empty()) {
    realm::answer_route(route);
    return 0;
  }
  realm::Request request;
  if (const auto bad = realm::parse_request(realm::read_request(), request)) realm::fail(REALM_FAIL_BAD_REQUEST, bad->message);
  realm::EmittedAnswer answer;
  realm::emit(REALM_EMIT_SUMMARY, realm::generate_answer(request, answer));
  return 0;
}

// Memory for an embedder that calls `generate` or `render` itself.
REALM_EXPORT("realm_alloc") uint8_t* realm_alloc(uint32_t size) { return new uint8_t[size]; }

// One user message in, the whole answer out.
REALM_EXPORT("generate") uint8_t* realm_generate(const char* prompt, uint32_t length) {
  const std::string text(prompt, length);
  if (realm::valid_utf8_prefix(text) != text.size()) realm::fail(REALM_FAIL_BAD_REQUEST, "prompt: is not valid UTF-8");
  realm::Request request;
  common_json message = common_json::object();
  message["role"] = "user";
  message["content"] = text;
  request.messages = common_json::array();
  request.messages.push_back(message);
  realm::CollectedAnswer answer;
  realm::generate_answer(request, answer);
  return realm::boxed(answer.text());
}

// Renders a template without a model; the request is {"template", "messages", "tools", "bos_token", "eos_token",
// "add_generation_prompt", "adapt"}. With "adapt": false the messages are put to the template exactly as they are.
REALM_EXPORT("render") int32_t realm_render() {
  const common_json input = common_json::parse(realm::read_request());
  realm::TemplateInput templated;
  templated.source = input.value("template", "");
  templated.messages = input.at("messages");
  if (input.contains("tools")) templated.tools = input.at("tools");
  templated.bos_token = input.value("bos_token", "");
  templated.eos_token = input.value("eos_token", "");
  templated.add_generation_prompt = input.value("add_generation_prompt", true);
  realm::emit(REALM_EMIT_TEXT, input.value("adapt", true) ? realm::render_template(templated) : realm::render_template_in(templated, {}));
  return 0;
}
