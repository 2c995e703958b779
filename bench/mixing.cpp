// Two realms with different system prompts answer at once, many times: no text of one may appear in the other.
#include "bench.h"

namespace realm::bench {
namespace {

constexpr const char* secrets[] = {"BLUEHERON", "REDWALNUT"};

std::string ask(const char* secret) {
  const std::string system = std::string("The secret word is ") + secret + ". Repeat the secret word in every answer.";
  return request({{"messages", boost::json::array{{{"role", "system"}, {"content", system}},
                                                  {{"role", "user"}, {"content", "What is the secret word?"}}}},
                  {"max_tokens", 24},
                  {"temperature", 0.8}});
}

}  // namespace

boost::json::object no_mixing(const Setup& setup) {
  auto runtime = make_runtime(setup, 2, 512);
  const runtime::RealmHandle realms[] = {make_realm(*runtime, "heron", true), make_realm(*runtime, "walnut", true)};
  const int rounds = setup.quick ? 20 : 200;
  int foreign = 0, own = 0, failed = 0;
  for (int round = 0; round < rounds; ++round) {
    Collector answers[2];
    for (int i = 0; i < 2; ++i) {
      if (!runtime->generate(realms[i], {ask(secrets[i])}, answers[i])) return {};
    }
    for (int i = 0; i < 2; ++i) {
      answers[i].wait();
      failed += !answers[i].error.empty();
      own += answers[i].text.find(secrets[i]) != std::string::npos;
      foreign += answers[i].text.find(secrets[1 - i]) != std::string::npos;
    }
  }
  return {{"rounds", rounds}, {"answers_with_their_own_word", own}, {"answers_with_the_other_word", foreign}, {"failed", failed}};
}

}  // namespace realm::bench
