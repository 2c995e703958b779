// Exercises what the kit offers for sequences, and says in the end how it went. Compiled and run by test_program_abi.py.
#include <algorithm>

#include "realm.hpp"

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

namespace {

void expect(bool holds, const char* what) {
  if (!holds) realm::fail(REALM_FAIL_PROGRAM, std::string("not so: ") + what);
}

realm_sampler_params_t greedy(uint32_t flags = 0) {
  realm_sampler_params_t sampler = {};
  sampler.top_p = sampler.typical_p = sampler.repetition_penalty = 1;
  sampler.flags = flags;
  return sampler;
}

std::vector<int32_t> take(realm::Sequence& sequence, uint32_t count) {
  std::vector<int32_t> tokens(count);
  for (uint32_t taken = 0; taken < count;) {
    const uint32_t more = sequence.next(tokens.data() + taken, count - taken);
    expect(more > 0, "there is room for more tokens");
    taken += more;
  }
  return tokens;
}

// Takes tokens of several sequences as they come.
std::vector<std::vector<int32_t>> take_together(std::vector<realm::Sequence>& sequences, uint32_t count) {
  std::vector<std::vector<int32_t>> tokens(sequences.size());
  while (true) {
    std::vector<int32_t> open;
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (tokens[i].size() < count) open.push_back(sequences[i].handle());
    }
    if (open.empty()) return tokens;
    const auto ready = realm::next_any(open);
    expect(!ready.empty(), "next_any returns when something is ready");
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (std::find(ready.begin(), ready.end(), sequences[i].handle()) == ready.end()) continue;
      int32_t token = 0;
      expect(sequences[i].next(&token, 1) == 1, "what is ready gives a token");
      tokens[i].push_back(token);
    }
  }
}

}  // namespace

REALM_EXPORT("handle") int32_t handle() {
  const realm::Model model("");
  const auto prompt = model.tokenize("The old ship went down, and nobody on the shore had seen where it came from.", 0);
  const auto length = static_cast<uint32_t>(prompt.size());
  realm::Sequence plain(model, 128);
  plain.append(prompt);
  const auto expected = take(plain, 12);

  realm::Sequence parent(model, 128);
  parent.append(prompt);
  std::vector<realm::Sequence> forks;
  for (int i = 0; i < 4; ++i) forks.push_back(parent.fork());
  for (const auto& tokens : take_together(forks, 12)) expect(tokens == expected, "a fork says what a fresh sequence says");
  expect(realm_seq_fork(parent.handle(), length + 1) == REALM_INVALID_ARGUMENT, "a fork is not longer than its parent");

  expect(!realm::Sequence::load(model, "story", 128), "nothing is saved yet");
  expect(parent.save("story"), "there is room to save");
  parent = realm::Sequence(model, 1);
  forks.clear();
  auto loaded = realm::Sequence::load(model, "story", 128);
  expect(loaded.has_value() && loaded->length() == length, "what was saved is loaded");
  expect(take(*loaded, 12) == expected, "and goes on as before");
  const realm_sequence_params_t small = {1, REALM_PRIORITY_NORMAL, 0, 0};
  const auto* name = reinterpret_cast<const uint8_t*>("story");
  expect(realm_seq_load(model.handle(), name, 5, &small) == REALM_INVALID_ARGUMENT, "it does not fit into one token");
  for (uint32_t i = 0; i < 64; ++i) {
    const bool kept = plain.save("number " + std::to_string(i));
    expect(kept == (i < 63), "64 sequences can be saved");
  }
  expect(realm_seq_forget(model.handle(), name, 5) == REALM_OK, "it is forgotten");
  expect(realm_seq_forget(model.handle(), name, 5) == REALM_NOT_FOUND, "once");

  realm::Sequence judged(model, 128);
  judged.append(prompt);
  judged.sampler(greedy(REALM_SAMPLER_JUDGED));
  expect(judged.logits(length, model.info().vocabulary_tokens).empty(), "no row before the first token");
  expect(take(judged, 1)[0] == expected[0], "a judged sequence says the same");
  const auto row = judged.logits(length, model.info().vocabulary_tokens);
  expect(row.size() == model.info().vocabulary_tokens, "the row is whole");
  expect(std::max_element(row.begin(), row.end()) - row.begin() == expected[0], "its largest logit is the token that came");

  realm::emit(REALM_EMIT_TEXT, "all of it holds");
  return 0;
}
