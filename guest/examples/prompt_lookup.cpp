// Prompt lookup: where the answer repeats what was said before (code that is edited, a text that is quoted), the words after the
// same words are a good guess. The host computes guesses along with the next token, so the answer is the same in fewer steps.
//
//   {"prompt": "...", "max_tokens": 100, "guess": true}
//   {"text": "...", "tokens": 100, "guesses": 31}
#include <algorithm>

#include "realm_json.hpp"

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

namespace {

constexpr size_t guess_tokens = 8;

// What followed the last `length` tokens where they occurred before; nothing when they did not.
std::vector<int32_t> look_up(const std::vector<int32_t>& history, size_t length) {
  if (history.size() <= length) return {};
  const auto key = history.end() - static_cast<ptrdiff_t>(length);
  const auto found = std::find_end(history.begin(), history.end() - 1, key, history.end());
  if (found == history.end() - 1) return {};
  const auto next = found + static_cast<ptrdiff_t>(length);
  return {next, next + std::min<ptrdiff_t>(guess_tokens, history.end() - next)};
}

}  // namespace

REALM_EXPORT("handle") int32_t handle() {
  const auto request = realm::json::parse(realm::read_request());
  const realm::Model model(request.text("model", ""));
  auto history = model.tokenize(request.text("prompt"), REALM_TOKENIZE_ADD_SPECIAL);
  const auto prompt_tokens = history.size();
  const uint32_t tokens_max = request.integer("max_tokens", 100, 1, 4'096);
  const bool guesses = request.flag("guess", true);
  realm::Sequence sequence(model, static_cast<uint32_t>(prompt_tokens) + tokens_max);
  sequence.append(history);
  auto params = realm::greedy(REALM_SAMPLER_STOP_AT_END);
  params.new_tokens_max = tokens_max;
  sequence.sampler(params);

  uint32_t guessed = 0;
  int32_t tokens[16];
  for (bool ended = false; !ended && history.size() < prompt_tokens + tokens_max;) {
    if (guesses) {
      auto next = look_up(history, 3);
      if (next.empty()) next = look_up(history, 2);
      sequence.guess(next);
      guessed += !next.empty();
    }
    const uint32_t count =
        sequence.next(tokens, std::min<uint32_t>(16, static_cast<uint32_t>(prompt_tokens + tokens_max - history.size())));
    for (uint32_t i = 0; i < count && !ended; ++i) {
      ended = model.ends_generation(tokens[i]);
      if (!ended) history.push_back(tokens[i]);
    }
    ended = ended || count == 0;
  }
  const std::vector<int32_t> said(history.begin() + static_cast<ptrdiff_t>(prompt_tokens), history.end());
  realm::json::answer(realm::json::Object()
                          .text("text", model.text_of(said))
                          .number("tokens", static_cast<double>(said.size()))
                          .number("guesses", guessed));
  return 0;
}
