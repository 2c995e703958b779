#include "engine/sampler.h"

#include <gtest/gtest.h>
#include <llama.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "engine/candidates.h"
#include "engine/logit_row.h"

namespace realm::engine {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_row(uint32_t seed, size_t size, float spread) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> row(size);
  for (float& logit : row) logit = normal(generator);
  return row;
}

std::vector<int32_t> history_of(size_t length) { return std::vector<int32_t>(length, 0); }

int32_t greedy(std::span<const float> row, std::span<const int32_t> banned = {}) {
  SamplerScratch scratch;
  return engine::sample(row, {}, banned, {}, scratch);
}

// -- llama.cpp's own chain with the same parameters: what is left, by token, with its probability.

using Chain = std::unique_ptr<llama_sampler, decltype(&llama_sampler_free)>;

std::map<int32_t, float> reference(std::span<const float> row, const SamplerParams& params) {
  Chain chain(llama_sampler_chain_init({.no_perf = true}), llama_sampler_free);
  if (params.top_k > 0) llama_sampler_chain_add(chain.get(), llama_sampler_init_top_k(params.top_k));
  llama_sampler_chain_add(chain.get(), llama_sampler_init_typical(params.typical_p, 1));
  llama_sampler_chain_add(chain.get(), llama_sampler_init_top_p(params.top_p, 1));
  llama_sampler_chain_add(chain.get(), llama_sampler_init_min_p(params.min_p, 1));
  llama_sampler_chain_add(chain.get(), llama_sampler_init_temp(params.temperature));
  llama_sampler_chain_add(chain.get(), llama_sampler_init_dist(1));
  std::vector<llama_token_data> data;
  for (size_t i = 0; i < row.size(); ++i) data.push_back({static_cast<llama_token>(i), row[i], 0});
  llama_token_data_array array{data.data(), data.size(), -1, false};
  llama_sampler_apply(chain.get(), &array);
  std::map<int32_t, float> left;
  for (size_t i = 0; i < array.size; ++i) left[array.data[i].id] = array.data[i].p;
  return left;
}

std::map<int32_t, float> ours(std::span<const float> row, const SamplerParams& params, SamplerScratch& scratch) {
  const float largest = block_maxima(row, scratch.maxima);
  Candidates candidates(row, largest, scratch);
  candidates.keep_top_k(params.top_k);
  candidates.keep_typical(params.typical_p);
  candidates.keep_top_p(params.top_p);
  candidates.keep_min_p(params.min_p);
  candidates.draw(params.temperature, 0.5);
  double mass = 0;
  for (const auto& candidate : candidates.picked()) mass += candidate.probability;
  std::map<int32_t, float> left;
  for (const auto& candidate : candidates.picked()) left[candidate.token] = static_cast<float>(candidate.probability / mass);
  return left;
}

struct Case {
  const char* name;
  SamplerParams params;
};

std::vector<Case> filter_cases() {
  return {
      {"top_k 1", {.temperature = 1, .top_k = 1}},
      {"top_k 40", {.temperature = 0.8f, .top_k = 40}},
      {"top_k beyond the number of blocks", {.temperature = 1, .top_k = 900}},
      {"top_p", {.temperature = 0.7f, .top_p = 0.9f}},
      {"top_p tiny", {.temperature = 1, .top_p = 1e-6f}},
      {"top_p nearly everything", {.temperature = 1.3f, .top_p = 0.99f}},
      {"min_p", {.temperature = 1.5f, .min_p = 0.02f}},
      {"min_p 1", {.temperature = 1, .min_p = 1}},
      {"typical", {.temperature = 1, .typical_p = 0.8f}},
      {"typical low", {.temperature = 1, .typical_p = 0.1f}},
      {"top_k, typical", {.temperature = 1, .top_k = 100, .typical_p = 0.7f}},
      {"top_k, top_p, min_p", {.temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f}},
      {"all", {.temperature = 2, .top_k = 200, .top_p = 0.9f, .min_p = 0.01f, .typical_p = 0.9f}},
  };
}

TEST(SamplerFilters, LeaveWhatLlamaCppLeaves) {
  SamplerScratch scratch;
  for (const size_t size : {5u, 64u, 1000u, 32'000u}) {
    for (const float spread : {0.5f, 2.0f, 6.0f}) {
      const auto row = random_row(static_cast<uint32_t>(size), size, spread);
      for (const Case& filter : filter_cases()) {
        SCOPED_TRACE(std::string(filter.name) + ", " + std::to_string(size) + " tokens, spread " + std::to_string(spread));
        if (static_cast<size_t>(filter.params.top_k) >= size) continue;
        const auto expected = reference(row, filter.params);
        const auto actual = ours(row, filter.params, scratch);
        // llama.cpp adds in floats: over 32,000 of them its sum passes a bound some rare tokens too late.
        const double tolerance = size > 1'000 ? 5e-4 : 1e-5;
        double only_in_one = 0;
        for (const auto& [token, p] : expected) {
          if (!actual.contains(token)) only_in_one += p;
        }
        for (const auto& [token, p] : actual) {
          if (expected.contains(token)) {
            EXPECT_NEAR(p, expected.at(token), tolerance) << "token " << token;
          } else {
            only_in_one += p;
          }
        }
        EXPECT_LT(only_in_one, tolerance);
      }
    }
  }
}

TEST(SamplerFilters, LeaveExactlyTheSameSetOnSmallVocabularies) {
  SamplerScratch scratch;
  for (uint32_t seed = 0; seed < 50; ++seed) {
    const auto row = random_row(seed, 300, 3);
    for (const Case& filter : filter_cases()) {
      if (filter.params.top_k >= 300) continue;
      std::set<int32_t> expected;
      std::set<int32_t> actual;
      for (const auto& [token, p] : reference(row, filter.params)) expected.insert(token);
      for (const auto& [token, p] : ours(row, filter.params, scratch)) actual.insert(token);
      EXPECT_EQ(actual, expected) << filter.name << ", row " << seed;
    }
  }
}

// -- drawing

// Pearson's statistic of `counts` against `expected` probabilities, rare tokens in one bin, in standard deviations from its mean.
double chi_square_deviations(const std::map<int32_t, int>& counts, const std::map<int32_t, float>& expected, int draws) {
  double statistic = 0;
  double rare_expected = 0;
  int rare_count = 0;
  int bins = 0;
  const auto add = [&](double want, int have) {
    statistic += (have - want) * (have - want) / want;
    ++bins;
  };
  for (const auto& [token, p] : expected) {
    const int have = counts.contains(token) ? counts.at(token) : 0;
    if (p * draws >= 8) {
      add(p * draws, have);
    } else {
      rare_expected += p * draws;
      rare_count += have;
    }
  }
  if (rare_expected >= 8) add(rare_expected, rare_count);
  const double freedom = std::max(1, bins - 1);
  return (statistic - freedom) / std::sqrt(2 * freedom);
}

TEST(SamplerDraw, FollowsLlamaCppsDistribution) {
  constexpr int draws = 20'000;
  auto cases = filter_cases();
  cases.push_back({"temperature alone", {.temperature = 0.9f}});
  cases.push_back({"high temperature", {.temperature = 5}});
  const auto row = random_row(7, 1'000, 2.5f);
  const auto history = history_of(draws);
  SamplerScratch scratch;
  for (Case& drawn : cases) {
    drawn.params.seed = 99;
    const auto expected = reference(row, drawn.params);
    std::map<int32_t, int> counts;
    for (int position = 0; position < draws; ++position) {
      ++counts[engine::sample(row, std::span(history).first(static_cast<size_t>(position)), {}, drawn.params, scratch)];
    }
    for (const auto& [token, count] : counts) EXPECT_TRUE(expected.contains(token)) << drawn.name << " drew " << token;
    EXPECT_LT(chi_square_deviations(counts, expected, draws), 5) << drawn.name;
  }
}

TEST(SamplerDraw, DrawingAgainAfterARejectionFollowsWhatIsLeft) {
  constexpr int draws = 20'000;
  const auto row = random_row(3, 50, 1);
  const SamplerParams params{.temperature = 1, .seed = 5};
  const auto history = history_of(draws);
  std::map<int32_t, float> expected;
  float mass = 0;
  for (const auto& [token, p] : reference(row, params)) {
    if (token % 3 == 0) mass += expected[token] = p;
  }
  for (auto& [token, p] : expected) p /= mass;
  SamplerScratch scratch;
  std::map<int32_t, int> counts;
  for (int position = 0; position < draws; ++position) {
    const auto before = std::span(history).first(static_cast<size_t>(position));
    std::vector<int32_t> banned;
    int32_t token = engine::sample(row, before, banned, params, scratch);
    while (token % 3 != 0) {
      banned.push_back(token);
      token = engine::sample(row, before, banned, params, scratch);
    }
    ++counts[token];
  }
  EXPECT_LT(chi_square_deviations(counts, expected, draws), 5);
}

TEST(SamplerDraw, DependsOnSeedAndPositionAlone) {
  const auto row = random_row(11, 49'152, 1);
  const SamplerParams params{.temperature = 1, .seed = 1234};
  SamplerParams other = params;
  other.seed = 1235;
  SamplerScratch used;
  const auto history = history_of(200);
  std::vector<int32_t> first;
  std::vector<int32_t> of_other_seed;
  for (size_t position = 0; position < 200; ++position) {
    first.push_back(engine::sample(row, std::span(history).first(position), {}, params, used));
    of_other_seed.push_back(engine::sample(row, std::span(history).first(position), {}, other, used));
  }
  // Backwards, after other work, with fresh memory: the same.
  for (size_t position = 200; position-- > 0;) {
    SamplerScratch fresh;
    EXPECT_EQ(engine::sample(row, std::span(history).first(position), {}, params, fresh), first[position]);
  }
  int equal = 0;
  for (size_t i = 0; i < 200; ++i) equal += first[i] == of_other_seed[i];
  EXPECT_LT(equal, 10);
  EXPECT_GT(std::set<int32_t>(first.begin(), first.end()).size(), 150u);
}

// -- greedy

TEST(SamplerGreedy, EqualsLlamaCppsOnEveryRowSize) {
  for (const size_t size : {1u, 2u, 7u, 63u, 64u, 65u, 1'000u, 49'152u, 50'001u}) {
    for (uint32_t seed = 0; seed < 5; ++seed) {
      const auto row = random_row(seed, size, 3);
      EXPECT_EQ(greedy(row), std::max_element(row.begin(), row.end()) - row.begin());
    }
  }
}

TEST(SamplerGreedy, TheLowestIdWinsATie) {
  std::vector<float> row(1'000, -1);
  row[999] = row[500] = row[130] = 2;
  EXPECT_EQ(greedy(row), 130);
  EXPECT_EQ(greedy(std::vector<float>(1'000, 0.0f)), 0);
}

// -- what changes the row

TEST(SamplerPenalties, ChangeTheRowAsLlamaCppDoes) {
  constexpr size_t vocabulary = 500;
  std::mt19937 generator(1);
  std::uniform_int_distribution<int32_t> any_token(0, 40);
  std::vector<int32_t> history(300);
  for (int32_t& token : history) token = any_token(generator);
  const auto row = random_row(2, vocabulary, 3);
  for (const int32_t last_n : {1, 5, 64, 300, 4'000, -1}) {
    const SamplerParams params{.repetition_penalty = 1.3f, .frequency_penalty = 0.2f, .presence_penalty = -0.7f, .penalty_last_n = last_n};
    const int32_t window = last_n < 0 ? 4'096 : last_n;
    const Chain penalties(llama_sampler_init_penalties(vocabulary, window, 1.3f, 0.2f, -0.7f), llama_sampler_free);
    for (const int32_t token : history) llama_sampler_accept(penalties.get(), token);
    std::vector<llama_token_data> data;
    for (size_t i = 0; i < vocabulary; ++i) data.push_back({static_cast<llama_token>(i), row[i], 0});
    llama_token_data_array array{data.data(), data.size(), -1, false};
    llama_sampler_apply(penalties.get(), &array);
    SamplerScratch scratch;
    for (int again = 0; again < 2; ++again) {
      engine::sample(row, history, {}, params, scratch);
      for (size_t i = 0; i < vocabulary; ++i) EXPECT_EQ(scratch.logits[i], data[i].logit) << "token " << i << ", last " << last_n;
    }
  }
}

TEST(SamplerPenalties, ZeroTokensBackMeansNone) {
  const std::vector<float> row{1, 2};
  const std::vector<int32_t> history{1, 1, 1};
  SamplerScratch scratch;
  EXPECT_EQ(engine::sample(row, history, {}, {.presence_penalty = 50, .penalty_last_n = 0}, scratch), 1);
  EXPECT_EQ(engine::sample(row, history, {}, {.presence_penalty = 50, .penalty_last_n = 1}, scratch), 0);
}

TEST(SamplerBias, IsAddedBeforeEverythingElse) {
  std::vector<float> row(100, 0.0f);
  row[3] = 1;
  SamplerParams params;
  params.logit_biases = {{70, 5.0f}, {3, -3.0f}};
  SamplerScratch scratch;
  EXPECT_EQ(engine::sample(row, {}, {}, params, scratch), 70);
  params.temperature = 1;
  params.top_k = 1;
  EXPECT_EQ(engine::sample(row, {}, {}, params, scratch), 70);
}

TEST(SamplerBans, ABannedTokenIsNeverDrawn) {
  const auto row = random_row(4, 200, 2);
  const auto history = history_of(300);
  std::vector<int32_t> banned;
  SamplerScratch scratch;
  for (int round = 0; round < 199; ++round) {
    const int32_t likeliest = greedy(row, banned);
    const SamplerParams filtered{.temperature = 1, .top_k = 20, .top_p = 0.9f};
    for (const SamplerParams& params : {SamplerParams{.temperature = 1}, filtered}) {
      for (size_t position = 0; position < 5; ++position) {
        const int32_t token = engine::sample(row, std::span(history).first(position), banned, params, scratch);
        EXPECT_EQ(std::ranges::count(banned, token), 0);
      }
    }
    banned.push_back(likeliest);
  }
}

TEST(SamplerBans, WithAllBannedTheLargestIsDrawn) {
  const std::vector<float> row{1, 3, 2};
  const std::vector<int32_t> all{0, 1, 2};
  EXPECT_EQ(greedy(row, all), 1);
}

// -- what a broken device may deliver

TEST(SamplerBadLogits, NeverCrashAndNeverWin) {
  std::vector<SamplerParams> all;
  for (const Case& filter : filter_cases()) all.push_back(filter.params);
  all.push_back({});
  all.push_back({.temperature = 1});
  all.push_back({.temperature = 1e-40f});
  all.push_back({.temperature = 100});
  SamplerScratch scratch;
  for (const SamplerParams& params : all) {
    auto row = random_row(1, 1'000, 2);
    for (size_t i = 0; i < row.size(); i += 2) row[i] = not_a_number;
    for (size_t i = 1; i < row.size(); i += 4) row[i] = -infinity;
    const int32_t token = engine::sample(row, {}, {}, params, scratch);
    EXPECT_EQ(token % 4, 3);
    row[70] = infinity;
    EXPECT_EQ(engine::sample(row, {}, {}, params, scratch), 70);
    EXPECT_EQ(engine::sample(std::vector<float>(1'000, not_a_number), {}, {}, params, scratch), 0);
    EXPECT_EQ(engine::sample(std::vector<float>(1'000, -infinity), {}, {}, params, scratch), 0);
    const std::vector<int32_t> banned{0, 1, 3};
    EXPECT_EQ(engine::sample(std::vector<float>(1'000, not_a_number), {}, banned, params, scratch), 2);
    const std::vector<float> one_left{-infinity, std::numeric_limits<float>::lowest(), not_a_number};
    EXPECT_EQ(engine::sample(one_left, {}, {}, params, scratch), 1);
    EXPECT_EQ(engine::sample(std::vector<float>{std::numeric_limits<float>::max()}, {}, {}, params, scratch), 0);
  }
}

// -- the row passes

TEST(LogitRow, MassIsAccurate) {
  for (const size_t size : {1u, 64u, 100u, 49'152u}) {
    for (const float scale : {0.1f, 1.0f, 3.0f}) {
      const auto row = random_row(5, size, 4);
      std::vector<float> maxima;
      std::vector<float> masses;
      const float largest = block_maxima(row, maxima);
      const RowMass total = block_masses(row, largest, scale, masses);
      double mass = 0;
      double weighted = 0;
      for (const float logit : row) {
        const double x = (double{logit} - largest) * scale;
        mass += std::exp(x);
        weighted += x * std::exp(x);
      }
      EXPECT_NEAR(total.mass / mass, 1, 1e-6);
      EXPECT_NEAR(total.weighted, weighted, 1e-6 * mass * 10);
    }
  }
}

// -- validation

TEST(SamplerValidate, EveryFieldOutOfRangeIsRefusedByName) {
  struct Refused {
    const char* field;
    SamplerParams params;
  };
  std::vector<Refused> refused;
  const auto add = [&](const char* field, auto member, auto... values) {
    for (const auto value : {values...}) {
      refused.push_back({field, {}});
      refused.back().params.*member = value;
    }
  };
  add("temperature", &SamplerParams::temperature, -0.1f, 100.1f, not_a_number, infinity);
  add("top_k", &SamplerParams::top_k, -1, std::numeric_limits<int32_t>::min());
  add("top_p", &SamplerParams::top_p, 0.0f, -1.0f, 1.001f, not_a_number);
  add("min_p", &SamplerParams::min_p, -0.01f, 1.01f, not_a_number);
  add("typical_p", &SamplerParams::typical_p, 0.0f, 1.01f, not_a_number);
  add("repetition_penalty", &SamplerParams::repetition_penalty, 0.0f, -1.0f, 101.0f, not_a_number);
  add("frequency_penalty", &SamplerParams::frequency_penalty, -101.0f, 101.0f, not_a_number);
  add("presence_penalty", &SamplerParams::presence_penalty, -101.0f, 101.0f, not_a_number);
  add("penalty_last_n", &SamplerParams::penalty_last_n, -2);
  for (const auto& bias : {std::pair{-1, 0.0f}, std::pair{1'000, 0.0f}, std::pair{0, not_a_number}, std::pair{0, infinity}}) {
    refused.push_back({"logit_bias", {}});
    refused.back().params.logit_biases = {bias};
  }
  refused.push_back({"logit_bias", {}});
  refused.back().params.logit_biases.assign(logit_biases_max + 1, {0, 0.0f});
  for (const Refused& one : refused) {
    const auto result = validate(one.params, 1'000);
    ASSERT_FALSE(result) << one.field;
    EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(result.error().message.find(one.field), std::string::npos) << result.error().message;
  }
}

TEST(SamplerValidate, TheEndsOfEveryRangePass) {
  const SamplerParams low{.temperature = 0,
                          .top_k = 0,
                          .top_p = 1e-30f,
                          .min_p = 0,
                          .typical_p = 1e-30f,
                          .repetition_penalty = 1e-30f,
                          .frequency_penalty = -100,
                          .presence_penalty = -100,
                          .penalty_last_n = -1,
                          .logit_biases = {{0, -1e30f}}};
  const SamplerParams high{.temperature = 100,
                           .top_k = INT32_MAX,
                           .top_p = 1,
                           .min_p = 1,
                           .typical_p = 1,
                           .repetition_penalty = 100,
                           .frequency_penalty = 100,
                           .presence_penalty = 100,
                           .penalty_last_n = INT32_MAX,
                           .seed = UINT64_MAX,
                           .logit_biases = std::vector<std::pair<int32_t, float>>(logit_biases_max, {999, 3e38f})};
  const auto row = random_row(8, 1'000, 3);
  const std::vector<int32_t> history(5'000, 17);
  SamplerScratch scratch;
  for (SamplerParams params : {low, high, SamplerParams{}}) {
    ASSERT_TRUE(validate(params, 1'000));
    for (const float temperature : {params.temperature, 1e-38f, 1.0f}) {
      params.temperature = temperature;
      const int32_t token = engine::sample(row, history, {}, params, scratch);
      EXPECT_TRUE(token >= 0 && token < 1'000);
    }
  }
}

}  // namespace
}  // namespace realm::engine
