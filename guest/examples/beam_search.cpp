// Beam search: of all continuations it follows the `beams` likeliest at once, so that it finds likelier texts than drawing the
// likeliest token each time does. Beams that part are forks: nothing is computed twice.
//
//   {"prompt": "...", "beams": 4, "max_tokens": 24}
//   {"text": "...", "logprob": -31.5, "forks": 40}
#include <algorithm>

#include "realm_json.hpp"

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

namespace {

struct Beam {
  realm::Sequence sequence;
  std::vector<int32_t> tokens{};
  double logprob = 0;
};

// A beam and what may follow it.
struct Option {
  size_t beam = 0;
  int32_t token = 0;
  double logprob = 0;  // of the beam and the token
};

std::vector<Option> options_of(std::vector<Beam>& beams, uint32_t position, uint32_t width) {
  realm::next_of_each(beams, [](Beam& beam) -> realm::Sequence& { return beam.sequence; });
  std::vector<Option> options;
  std::vector<int32_t> tokens(width);
  std::vector<float> logprobs(width);
  for (size_t i = 0; i < beams.size(); ++i) {
    const uint32_t count = beams[i].sequence.candidates(position, tokens.data(), logprobs.data(), width);
    for (uint32_t k = 0; k < count; ++k) options.push_back({i, tokens[k], beams[i].logprob + logprobs[k]});
  }
  std::stable_sort(options.begin(), options.end(), [](const Option& a, const Option& b) { return a.logprob > b.logprob; });
  return options;
}

}  // namespace

REALM_EXPORT("handle") int32_t handle() {
  const auto request = realm::json::parse(realm::read_request());
  const realm::Model model(request.text("model", ""));
  const auto prompt = model.tokenize(request.text("prompt"), REALM_TOKENIZE_ADD_SPECIAL);
  const uint32_t width = request.integer("beams", 4, 1, 16);
  const uint32_t tokens_max = request.integer("max_tokens", 24, 1, 512);
  const auto length = static_cast<uint32_t>(prompt.size());

  std::vector<Beam> beams;
  beams.push_back({realm::Sequence(model, length + tokens_max)});
  beams[0].sequence.append(prompt);
  beams[0].sequence.sampler(realm::greedy(REALM_SAMPLER_JUDGED));
  std::optional<Beam> best;  // of those that came to their end
  uint32_t forks = 0;
  for (uint32_t position = length; position < length + tokens_max && !beams.empty(); ++position) {
    std::vector<Beam> next;
    for (const Option& option : options_of(beams, position, width)) {
      if (next.size() == width || (best && best->logprob >= option.logprob)) break;
      auto tokens = beams[option.beam].tokens;
      tokens.push_back(option.token);
      Beam beam = {beams[option.beam].sequence.fork(position), std::move(tokens), option.logprob};
      ++forks;
      beam.sequence.push(&option.token, 1);
      if (model.ends_generation(option.token)) {
        best = std::move(beam);
      } else {
        next.push_back(std::move(beam));
      }
    }
    beams = std::move(next);
  }
  if (!best || (!beams.empty() && beams[0].logprob > best->logprob)) best = std::move(beams[0]);
  realm::json::answer(
      realm::json::Object().text("text", model.text_of(best->tokens)).number("logprob", best->logprob).number("forks", forks));
  return 0;
}
