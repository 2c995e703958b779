#include "realm/routes.h"

#include "realm/anthropic.h"
#include "realm/openai.h"
#include "realm/protocol.h"

namespace realm {
namespace {

struct Route {
  const char* name;
  Protocol protocol;
  void (*answer)(const common_json& body);
};

constexpr Route known_routes[] = {
    {"POST /v1/chat/completions", Protocol::openai, answer_chat_completion},
    {"POST /v1/completions", Protocol::openai, answer_completion},
    {"POST /v1/responses", Protocol::openai, answer_response},
    {"POST /v1/embeddings", Protocol::openai, answer_embeddings},
    {"POST /v1/rerank", Protocol::openai, answer_rerank},
    {"POST /rerank", Protocol::openai, answer_rerank},
    {"POST /v1/messages", Protocol::anthropic, answer_message},
    {"POST /v1/messages/count_tokens", Protocol::anthropic, answer_count_tokens},
    {"POST /tokenize", Protocol::openai, answer_tokenize},
    {"POST /detokenize", Protocol::openai, answer_detokenize},
};

}  // namespace

void answer_route(const std::string& route) {
  for (const Route& known : known_routes) {
    if (route != known.name) continue;
    speak(known.protocol);
    common_json body;
    if (const auto bad = parse_object(read_request(), body)) refuse(400, "", bad->message);
    known.answer(body);
    return;
  }
  speak(Protocol::openai);
  refuse(404, "unknown_url", "this program does not answer " + route);
}

}  // namespace realm
