// The least that a program can do: it continues a text with the likeliest tokens and emits each as it comes.
//
//   {"prompt": "...", "max_tokens": 64}
#include <algorithm>

#include "realm_json.hpp"

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

REALM_EXPORT("handle") int32_t handle() {
  const auto request = realm::json::parse(realm::read_request());
  const realm::Model model(request.text("model", ""));
  const auto prompt = model.tokenize(request.text("prompt"), REALM_TOKENIZE_ADD_SPECIAL);
  const uint32_t tokens_max = request.integer("max_tokens", 64, 1, 4'096);
  realm::Sequence sequence(model, static_cast<uint32_t>(prompt.size()) + tokens_max);
  sequence.append(prompt);
  const bool native = realm::request_text(REALM_REQUEST_ROUTE).empty();
  if (!native) realm::respond(200, REALM_CONTENT_TEXT);
  int32_t tokens[16];
  std::string text;
  for (uint32_t taken = 0; taken < tokens_max;) {
    const uint32_t count = sequence.next(tokens, std::min(tokens_max - taken, 16u));
    if (count == 0) break;
    taken += count;
    text.clear();
    model.append_text(tokens, count, 0, text);
    realm::emit(native ? REALM_EMIT_TEXT : REALM_EMIT_BODY, text);
  }
  return 0;
}
