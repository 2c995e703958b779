#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/candidates.h"
#include "engine/logit_row.h"

namespace realm::engine {
namespace {

constexpr float temperature_max = 100;
constexpr float repetition_penalty_max = 100;
constexpr float additive_penalty_max = 100;

template <class Value>
Result<void> refuse(const char* field, Value value, const char* range) {
  return fail(ErrorCode::invalid_argument, std::string(field) + " is " + std::to_string(value) + "; it must be " + range);
}

bool within(float value, float low, float high) { return value >= low && value <= high; }  // false for NaN

bool has_penalties(const SamplerParams& params) {
  return params.penalty_last_n != 0 && (params.repetition_penalty != 1 || params.frequency_penalty != 0 || params.presence_penalty != 0);
}

// The formulas, and their order, are llama_sampler_penalties'.
void apply_penalties(std::span<const int32_t> history, const SamplerParams& params, SamplerScratch& scratch) {
  const size_t last_n = params.penalty_last_n < 0 ? penalty_window_tokens_max
                                                  : std::min<size_t>(static_cast<size_t>(params.penalty_last_n), penalty_window_tokens_max);
  const auto window = history.last(std::min(history.size(), last_n));
  std::vector<float>& logits = scratch.logits;
  scratch.counts.resize(logits.size());
  for (const int32_t token : window) ++scratch.counts[static_cast<size_t>(token)];
  for (const int32_t token : window) {
    uint32_t& count = scratch.counts[static_cast<size_t>(token)];
    if (count == 0) continue;
    float& logit = logits[static_cast<size_t>(token)];
    logit = logit <= 0 ? logit * params.repetition_penalty : logit / params.repetition_penalty;
    logit -= static_cast<float>(count) * params.frequency_penalty + params.presence_penalty;
    count = 0;
  }
}

// The row itself when nothing changes it, else a changed copy in the scratch.
std::span<const float> adjusted_row(std::span<const float> logits, std::span<const int32_t> history, std::span<const int32_t> banned,
                                    const SamplerParams& params, SamplerScratch& scratch) {
  const bool penalties = has_penalties(params) && !history.empty();
  if (params.logit_biases.empty() && !penalties && banned.empty()) return logits;
  scratch.logits.assign(logits.begin(), logits.end());
  for (const auto& [token, bias] : params.logit_biases) scratch.logits[static_cast<size_t>(token)] += bias;
  if (penalties) apply_penalties(history, params, scratch);
  for (const int32_t token : banned) scratch.logits[static_cast<size_t>(token)] = minus_infinity;
  return scratch.logits;
}

// Nothing has a logit above minus infinity: the first token that is not banned, or, with all banned, the likeliest.
int32_t token_without_logits(std::span<const float> logits, std::span<const int32_t> banned, SamplerScratch& scratch) {
  scratch.counts.resize(logits.size());
  for (const int32_t token : banned) scratch.counts[static_cast<size_t>(token)] = 1;
  const auto allowed = std::ranges::find(scratch.counts, 0u);
  const auto token = static_cast<int32_t>(allowed - scratch.counts.begin());
  const bool all_banned = allowed == scratch.counts.end();
  for (const int32_t token_banned : banned) scratch.counts[static_cast<size_t>(token_banned)] = 0;
  if (!all_banned) return token;
  const float largest = block_maxima(logits, scratch.maxima);
  return largest == minus_infinity ? 0 : first_token_of(logits, scratch.maxima, largest);
}

// The finaliser of SplitMix64: a bijection whose every output bit depends on every input bit.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

bool is_allowed(std::span<const uint64_t> allowed, size_t token) { return (allowed[token / 64] >> (token % 64) & 1) != 0; }

// The first allowed token that is not banned, the first allowed one, or -1.
int32_t first_allowed(std::span<const uint64_t> allowed, std::span<const int32_t> banned, size_t vocabulary_tokens) {
  int32_t first = -1;
  for (size_t token = 0; token < vocabulary_tokens; ++token) {
    if (!is_allowed(allowed, token)) continue;
    const auto id = static_cast<int32_t>(token);
    if (std::ranges::find(banned, id) == banned.end()) return id;
    if (first < 0) first = id;
  }
  return first;
}

// From 0 to below 1 in steps of 2^-53. A counter-based generator: a hash of what makes the draw, in place of a state.
double random_number(uint64_t seed, uint64_t position, uint64_t bans) {
  return static_cast<double>(mix(mix(mix(seed) ^ position) ^ bans) >> 11) * 0x1.0p-53;
}

}  // namespace

Result<void> validate(const SamplerParams& params, uint32_t vocabulary_tokens) {
  if (!within(params.temperature, 0, temperature_max)) return refuse("temperature", params.temperature, "from 0 to 100");
  if (params.top_k < 0) return refuse("top_k", params.top_k, "0 (off) or more");
  if (!(params.top_p > 0 && params.top_p <= 1)) return refuse("top_p", params.top_p, "above 0 and at most 1");
  if (!within(params.min_p, 0, 1)) return refuse("min_p", params.min_p, "from 0 to 1");
  if (!(params.typical_p > 0 && params.typical_p <= 1)) return refuse("typical_p", params.typical_p, "above 0 and at most 1");
  if (!(params.repetition_penalty > 0 && params.repetition_penalty <= repetition_penalty_max)) {
    return refuse("repetition_penalty", params.repetition_penalty, "above 0 and at most 100");
  }
  if (!within(params.frequency_penalty, -additive_penalty_max, additive_penalty_max)) {
    return refuse("frequency_penalty", params.frequency_penalty, "from -100 to 100");
  }
  if (!within(params.presence_penalty, -additive_penalty_max, additive_penalty_max)) {
    return refuse("presence_penalty", params.presence_penalty, "from -100 to 100");
  }
  if (params.penalty_last_n < -1) return refuse("penalty_last_n", params.penalty_last_n, "-1 (the whole sequence) or more");
  if (params.logit_biases.size() > logit_biases_max) {
    return refuse("the number of entries of logit_bias", params.logit_biases.size(), "at most 1024");
  }
  for (const auto& [token, bias] : params.logit_biases) {
    if (token < 0 || static_cast<uint32_t>(token) >= vocabulary_tokens) {
      return refuse("a token id of logit_bias", token, "inside the vocabulary");
    }
    if (!std::isfinite(bias)) return refuse("a value of logit_bias", bias, "a finite number");
  }
  return {};
}

namespace {

// `largest` is above minus infinity and scratch.maxima belongs to the row.
int32_t draw_from(std::span<const float> row, float largest, const SamplerParams& params, double random, SamplerScratch& scratch) {
  // An infinite logit has all of the probability.
  if (params.temperature == 0 || std::isinf(largest)) return first_token_of(row, scratch.maxima, largest);
  Candidates candidates(row, largest, scratch);
  candidates.keep_top_k(params.top_k);
  candidates.keep_typical(params.typical_p);
  candidates.keep_top_p(params.top_p);
  candidates.keep_min_p(params.min_p);
  return candidates.draw(params.temperature, random);
}

}  // namespace

int32_t sample(std::span<const float> logits, std::span<const int32_t> history, std::span<const int32_t> banned,
               const SamplerParams& params, SamplerScratch& scratch) {
  const std::span<const float> row = adjusted_row(logits, history, banned, params, scratch);
  const float largest = block_maxima(row, scratch.maxima);
  if (largest == minus_infinity) return token_without_logits(logits, banned, scratch);
  return draw_from(row, largest, params, random_number(params.seed, history.size(), banned.size()), scratch);
}

int32_t sample_allowed(std::span<const float> logits, std::span<const int32_t> history, std::span<const int32_t> banned,
                       std::span<const uint64_t> allowed, const SamplerParams& params, SamplerScratch& scratch) {
  const int32_t unmasked = sample(logits, history, banned, params, scratch);
  if (is_allowed(allowed, static_cast<size_t>(unmasked))) return unmasked;
  const std::span<const float> row = adjusted_row(logits, history, banned, params, scratch);
  if (row.data() == logits.data()) scratch.logits.assign(logits.begin(), logits.end());
  std::vector<float>& masked = scratch.logits;
  for (size_t token = 0; token < masked.size(); ++token) {
    if (!is_allowed(allowed, token)) masked[token] = minus_infinity;
  }
  const float largest = block_maxima(masked, scratch.maxima);
  if (largest == minus_infinity) {
    const int32_t first = first_allowed(allowed, banned, logits.size());
    return first < 0 ? unmasked : first;
  }
  return draw_from(masked, largest, params, random_number(params.seed, history.size(), banned.size() + 1), scratch);
}

}  // namespace realm::engine
