// Best of n: n answers to one prompt, of which the one that the model finds likeliest, token by token, is returned. The prompt is
// computed once: the other answers are forks of the first.
//
//   {"prompt": "...", "n": 8, "max_tokens": 64, "temperature": 0.8, "seed": 1}
//   {"text": "...", "logprob": -0.9, "logprobs": [of each answer, the mean of its tokens'], "tokens": of all answers}
#include <algorithm>

#include "realm_json.hpp"

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

namespace {

struct Answer {
  realm::Sequence sequence;
  std::vector<int32_t> tokens{};
  double logprob = 0;  // of all tokens
  bool ended = false;
  double mean() const { return tokens.empty() ? -1e30 : logprob / static_cast<double>(tokens.size()); }
};

void take(const realm::Model& model, Answer& answer, uint32_t tokens_max) {
  const uint32_t position = answer.sequence.length();
  const auto token = answer.sequence.next();
  answer.ended = !token || model.ends_generation(*token);
  if (!token) return;
  answer.logprob += answer.sequence.logprob(position, *token);
  answer.tokens.push_back(*token);
  answer.ended = answer.ended || answer.tokens.size() == tokens_max;
}

}  // namespace

REALM_EXPORT("handle") int32_t handle() {
  const auto request = realm::json::parse(realm::read_request());
  const realm::Model model(request.text("model", ""));
  const auto prompt = model.tokenize(request.text("prompt"), REALM_TOKENIZE_ADD_SPECIAL);
  const uint32_t tokens_max = request.integer("max_tokens", 64, 1, 4'096);
  const uint32_t n = request.integer("n", 8, 1, 64);
  const uint32_t seed = request.integer("seed", 1, 0, 1u << 30);
  const auto temperature = static_cast<float>(request.real("temperature", 0.8, 0, 100));

  std::vector<Answer> answers;
  answers.push_back({realm::Sequence(model, static_cast<uint32_t>(prompt.size()) + tokens_max)});
  answers[0].sequence.append(prompt);
  while (answers.size() < n) answers.push_back({answers[0].sequence.fork()});
  for (uint32_t i = 0; i < n; ++i) {
    // A judged sequence tells how likely its tokens were.
    auto params = realm::drawn(temperature, seed + i, REALM_SAMPLER_STOP_AT_END | REALM_SAMPLER_JUDGED);
    params.new_tokens_max = tokens_max;
    answers[i].sequence.sampler(params);
  }
  while (true) {
    std::vector<int32_t> open;
    for (const Answer& answer : answers) {
      if (!answer.ended) open.push_back(answer.sequence.handle());
    }
    if (open.empty()) break;
    for (const int32_t ready : realm::next_any(open)) {
      take(model, *std::find_if(answers.begin(), answers.end(), [=](const Answer& one) { return one.sequence.handle() == ready; }),
           tokens_max);
    }
  }

  const Answer& best = answers[realm::index_of_best(answers, [](const Answer& one) { return one.mean(); })];
  size_t tokens = 0;
  for (const Answer& answer : answers) tokens += answer.tokens.size();
  const auto logprobs = realm::json::list(answers, [](const Answer& one) { return std::to_string(one.mean()); });
  realm::json::answer(realm::json::Object()
                          .text("text", model.text_of(best.tokens))
                          .number("logprob", best.mean())
                          .raw("logprobs", logprobs)
                          .number("tokens", static_cast<double>(tokens)));
  return 0;
}
