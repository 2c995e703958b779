// A watermark (Kirchenbauer et al., arXiv 2301.10226): the token before and a secret key divide the vocabulary in two, and tokens
// of the green half get `strength` added to their logit. Nobody sees it in the text; who has the key counts the green tokens.
//
//   {"prompt": "...", "key": "secret", "strength": 2, "max_tokens": 100, "temperature": 0.9, "seed": 1}   strength 0: no watermark
//   {"text": "..."}
//   {"detect": "a text", "key": "secret"}
//   {"z": 6.1, "green": 78, "tokens": 99}   standard deviations above what a text without it has
#include <algorithm>
#include <cmath>

#include "realm_json.hpp"

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

namespace {

constexpr uint32_t candidates = 128;

// SplitMix64's finaliser.
uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

uint64_t hash_of(const std::string& key) {
  uint64_t hash = 0;
  for (const char c : key) hash = mix(hash * 257 + static_cast<uint8_t>(c) + 1);
  return hash;
}

bool is_green(uint64_t key, int32_t before, int32_t token) {
  const uint64_t pair = static_cast<uint64_t>(static_cast<uint32_t>(before)) << 32 | static_cast<uint32_t>(token);
  return (mix(key ^ mix(pair + 0x9e3779b97f4a7c15)) & 1) != 0;
}

// One of the likeliest tokens, drawn with the green ones favoured.
int32_t choose(const realm::Sequence& sequence, uint32_t position, int32_t before, uint64_t key, float strength, float temperature,
               uint64_t seed) {
  int32_t tokens[candidates];
  float logprobs[candidates];
  const uint32_t count = sequence.candidates(position, tokens, logprobs, candidates);
  double weights[candidates], mass = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const float logit = logprobs[i] + (is_green(key, before, tokens[i]) ? strength : 0);
    mass += weights[i] = std::exp(logit / temperature);
  }
  double left = static_cast<double>(mix(seed ^ mix(position)) >> 11) * 0x1p-53 * mass;
  for (uint32_t i = 0; i < count; ++i) {
    left -= weights[i];
    if (left < 0) return tokens[i];
  }
  return tokens[0];
}

void write(const realm::json::Value& request, const realm::Model& model, uint64_t key) {
  const auto prompt = model.tokenize(request.text("prompt"), REALM_TOKENIZE_ADD_SPECIAL);
  if (prompt.empty()) realm::fail(REALM_FAIL_BAD_REQUEST, "prompt: is empty");
  const uint32_t tokens_max = request.integer("max_tokens", 100, 1, 4'096);
  const auto strength = static_cast<float>(request.real("strength", 2, 0, 20));
  const auto temperature = static_cast<float>(request.real("temperature", 0.9, 0.01, 100));
  const uint32_t seed = request.integer("seed", 1, 0, 1u << 30);
  realm::Sequence sequence(model, static_cast<uint32_t>(prompt.size()) + tokens_max);
  sequence.append(prompt);
  sequence.sampler(realm::greedy(REALM_SAMPLER_JUDGED));
  std::vector<int32_t> said;
  int32_t before = prompt.back();
  while (said.size() < tokens_max) {
    const uint32_t position = sequence.length();
    const auto likeliest = sequence.next();
    if (!likeliest) break;
    const int32_t token = choose(sequence, position, before, key, strength, temperature, seed);
    if (model.ends_generation(token)) break;
    if (token != *likeliest) sequence.put(position, token);
    said.push_back(before = token);
  }
  realm::json::answer(realm::json::Object().text("text", model.text_of(said)));
}

void detect(const std::string& text, const realm::Model& model, uint64_t key) {
  const auto tokens = model.tokenize(text, 0);
  if (tokens.size() < 2) realm::fail(REALM_FAIL_BAD_REQUEST, "detect: the text is too short");
  const auto pairs = static_cast<double>(tokens.size() - 1);
  double green = 0;
  for (size_t i = 1; i < tokens.size(); ++i) green += is_green(key, tokens[i - 1], tokens[i]);
  const double z = (green - pairs / 2) / std::sqrt(pairs / 4);
  realm::json::answer(realm::json::Object().number("z", z).number("green", green).number("tokens", pairs));
}

}  // namespace

REALM_EXPORT("handle") int32_t handle() {
  const auto request = realm::json::parse(realm::read_request());
  const realm::Model model(request.text("model", ""));
  const uint64_t key = hash_of(request.text("key"));
  if (request.find("detect") != nullptr) {
    detect(request.text("detect"), model, key);
  } else {
    write(request, model, key);
  }
  return 0;
}
