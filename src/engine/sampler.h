// Draws the next token from a row of logits.
//
// A draw is a pure function of its arguments: the random number is computed from the seed, the position and the number of bans at
// that position (a counter-based generator), so a rollback needs no saved state and running ahead cannot change an output. The bans
// count so that a draw after a rejection is independent of the rejected one; else drawing, checking and drawing again would not
// follow the distribution that is left.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"

namespace realm::engine {

constexpr uint32_t logit_biases_max = 1'024;
constexpr uint32_t penalty_window_tokens_max = 4'096;  // -1, "the whole sequence", means this many

// Ranges as in abi/realm_abi.h, realm_sampler_params_t.
struct SamplerParams {
  float temperature = 0;  // 0: greedy
  int32_t top_k = 0;      // 0: off
  float top_p = 1;
  float min_p = 0;
  float typical_p = 1;
  float repetition_penalty = 1;
  float frequency_penalty = 0;
  float presence_penalty = 0;
  int32_t penalty_last_n = 64;
  uint64_t seed = 0;
  std::vector<std::pair<int32_t, float>> logit_biases{};
};

// Ranges, NaN, bias count and ids against the vocabulary. The message names the field. What passes can be sampled with.
Result<void> validate(const SamplerParams& params, uint32_t vocabulary_tokens);

// Memory that one thread reuses from draw to draw, so that a draw allocates nothing once warm.
struct SamplerScratch {
  struct Candidate {
    int32_t token;
    float logit;
    float probability;
  };
  std::vector<float> logits;          // the row after biases, penalties and bans
  std::vector<float> maxima, masses;  // by block of the row
  std::vector<Candidate> candidates;  // what filters have left
  std::vector<Candidate> ranking;     // a copy of them to find a filter's bound in
  std::vector<uint32_t> counts;       // by token, within the penalty window; zero between draws
};

// `logits`: one row of the vocabulary's size; NaN counts as minus infinity. `history`: all tokens before the one drawn; its size is
// the position. `banned`: token ids that may not be drawn (when all are banned, the largest logit is drawn). Any thread, each with
// its own scratch; never fails.
int32_t sample(std::span<const float> logits, std::span<const int32_t> history, std::span<const int32_t> banned,
               const SamplerParams& params, SamplerScratch& scratch);

// As sample(), but only a token of `allowed` may come out: bit (id % 64) of word (id / 64), at least the vocabulary's size in bits.
// The draw of sample() is kept when it is allowed, else another one follows among the allowed. So it does not matter to the result
// whether the owner names what is allowed before the draw or refuses the token after it. Without any allowed token: sample()'s.
int32_t sample_allowed(std::span<const float> logits, std::span<const int32_t> history, std::span<const int32_t> banned,
                       std::span<const uint64_t> allowed, const SamplerParams& params, SamplerScratch& scratch);

}  // namespace realm::engine
