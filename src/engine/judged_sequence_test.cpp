// Sequences whose owner judges each token: kept rows, masks, redraws, pushed tokens.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "engine/blocking_sequence.h"
#include "engine/shared_sequence.h"
#include "engine/tested_scheduler.h"

namespace realm::engine {
namespace {

class JudgedSequenceTest : public SmallScheduler {
 protected:
  static DecodePlan plan(bool judged, float temperature = 1) {
    DecodePlan plan;
    plan.sampler.temperature = temperature;
    plan.sampler.top_k = 50;
    plan.sampler.repetition_penalty = 1.1f;
    plan.sampler.seed = 11;
    plan.keep_rows = judged;
    return plan;
  }
  BlockingSequence open(const DecodePlan& plan, const std::string& prompt = "The capital of France is") {
    BlockingSequence sequence(*scheduler_, {.flow = 1, .tokens_max = 256});
    EXPECT_EQ(sequence->set_plan(plan), SequenceStatus::ok);
    EXPECT_EQ(sequence->append(model_->tokenize(prompt, {}).value()), SequenceStatus::ok);
    return sequence;
  }
  static std::string text(int32_t token) {
    std::string text;
    (void)model_->append_token_text(token, false, text);
    return text;
  }
  // Tokens whose text has an even number of bytes.
  static bool is_even(int32_t token) { return text(token).size() % 2 == 0; }
  static const TokenMask& even_mask() {
    static const TokenMask mask = [] {
      TokenMask words((model_->info().vocabulary_tokens + 63) / 64);
      for (uint32_t i = 0; i < model_->info().vocabulary_tokens; ++i) {
        if (is_even(static_cast<int32_t>(i))) words[i / 64] |= uint64_t{1} << (i % 64);
      }
      return words;
    }();
    return mask;
  }
  static int32_t next(BlockingSequence& sequence) {
    int32_t token = -1;
    EXPECT_EQ(sequence.next({&token, 1}).count, 1u);
    return token;
  }
  // Even tokens only: refused with the mask after the draw.
  std::vector<int32_t> masked_after(BlockingSequence& sequence, size_t count) {
    std::vector<int32_t> tokens;
    while (tokens.size() < count) {
      const int32_t token = next(sequence);
      if (is_even(token)) {
        tokens.push_back(token);
      } else {
        EXPECT_EQ(sequence->mask(sequence->length() - 1, even_mask()), SequenceStatus::ok);
      }
    }
    return tokens;
  }
  // The same with the mask stated before the draw, as early as can be.
  static std::vector<int32_t> masked_before(BlockingSequence& sequence, size_t count) {
    std::vector<int32_t> tokens;
    while (tokens.size() < count) {
      EXPECT_EQ(sequence->mask(sequence->length(), even_mask()), SequenceStatus::ok);
      tokens.push_back(next(sequence));
    }
    return tokens;
  }
};

TEST_F(JudgedSequenceTest, JudgingDoesNotChangeTheOutput) {
  auto plain = open(plan(false));
  auto judged = open(plan(true));
  EXPECT_EQ(judged.take(40), plain.take(40));
}

TEST_F(JudgedSequenceTest, RejectingUntilValidConverges) {
  for (const bool keep_rows : {true, false}) {
    auto sequence = open(plan(keep_rows, 0));
    const uint32_t position = sequence->length();
    std::vector<int32_t> seen;
    for (int i = 0; i < 24; ++i) {
      const int32_t token = next(sequence);
      EXPECT_EQ(std::ranges::count(seen, token), 0) << "token " << token << " came back after its rejection";
      seen.push_back(token);
      ASSERT_EQ(sequence->reject(position, {&token, 1}), SequenceStatus::ok);
    }
    // What follows the kept token is not bound by those bans.
    const int32_t kept = next(sequence);
    EXPECT_EQ(std::ranges::count(seen, kept), 0);
    EXPECT_GE(next(sequence), 0);
    ASSERT_EQ(sequence->reject(position, {}), SequenceStatus::ok);
    EXPECT_EQ(next(sequence), seen.front()) << "an empty list lifts the bans";
  }
}

TEST_F(JudgedSequenceTest, RedrawnFromTheKeptRowEqualsComputedAnew) {
  for (const float temperature : {0.0f, 1.0f}) {
    std::vector<std::vector<int32_t>> outputs;
    for (const bool keep_rows : {true, false}) {
      auto sequence = open(plan(keep_rows, temperature));
      std::vector<int32_t> tokens;
      for (int i = 0; i < 12; ++i) {
        std::vector<int32_t> banned;
        while (banned.size() < 3) {  // the fourth choice everywhere
          banned.push_back(next(sequence));
          EXPECT_EQ(sequence->reject(sequence->length() - 1, {&banned.back(), 1}), SequenceStatus::ok);
        }
        tokens.push_back(next(sequence));
      }
      outputs.push_back(tokens);
    }
    EXPECT_EQ(outputs[0], outputs[1]);
  }
  EXPECT_GT(scheduler_->stats().redrawn_tokens, 50u);
}

TEST_F(JudgedSequenceTest, AMaskGivesTheSameBeforeAndAfterTheDraw) {
  auto late = open(plan(true));
  auto early = open(plan(true));
  auto without_rows = open(plan(false));
  const auto expected = masked_after(late, 24);
  EXPECT_TRUE(std::ranges::all_of(expected, is_even));
  EXPECT_EQ(masked_before(early, 24), expected);
  EXPECT_EQ(masked_after(without_rows, 24), expected);
}

TEST_F(JudgedSequenceTest, ARefusedTokenCostsOnlyItsOwnPass) {
  auto sequence = open(plan(true));
  masked_after(sequence, 4);
  const SchedulerStats before = scheduler_->stats();
  masked_after(sequence, 24);
  sequence.close();
  const SchedulerStats after = scheduler_->stats();
  const uint64_t redrawn = after.redrawn_tokens - before.redrawn_tokens;
  ASSERT_GT(redrawn, 0u) << "the test needs refusals";
  EXPECT_LE(after.decode_tokens - before.decode_tokens, 24 + redrawn + kept_rows_max);
}

TEST_F(JudgedSequenceTest, OneAllowedTokenIsTakenWhateverTheModelThinks) {
  auto sequence = open(plan(true));
  TokenMask only(even_mask().size());
  const int32_t wanted = 4'711;
  only[wanted / 64] |= uint64_t{1} << (wanted % 64);
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(sequence->mask(sequence->length(), only), SequenceStatus::ok);
    EXPECT_EQ(next(sequence), wanted);
  }
}

TEST_F(JudgedSequenceTest, NeighboursOfARefusedTokenGoOnUnchanged) {
  auto alone = open(plan(false), "Once upon a time");
  const auto expected = alone.take(32);
  auto neighbour = open(plan(false), "Once upon a time");
  auto judged = open(plan(true));
  std::thread refusing([&] { masked_after(judged, 24); });
  const auto beside = neighbour.take(32);
  refusing.join();
  // Another batch may change the last bits of a logit, not the beginning of a text.
  EXPECT_TRUE(std::equal(beside.begin(), beside.begin() + 16, expected.begin()));
}

TEST_F(JudgedSequenceTest, KeptRowsAreBoundedAndFreed) {
  {
    auto sequence = open(plan(true));
    for (int i = 0; i < 20; ++i) {
      next(sequence);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));  // lets it run ahead as far as it may
      const uint64_t row_bytes = model_->info().vocabulary_tokens * sizeof(float);
      EXPECT_LE(scheduler_->stats().kept_row_bytes, (kept_rows_max + 1) * row_bytes) << "one more is on its way";
    }
    EXPECT_GT(scheduler_->stats().kept_row_bytes, 0u);
  }
  for (int i = 0; i < 5'000 && scheduler_->stats().kept_row_bytes > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(scheduler_->stats().kept_row_bytes, 0u);
}

TEST_F(JudgedSequenceTest, CandidatesAreTheLikeliestAndKnownOfTheTakenToken) {
  auto sequence = open(plan(true, 0));
  for (int i = 0; i < 6; ++i) {
    const int32_t token = next(sequence);
    const uint32_t position = sequence->length() - 1;
    const auto candidates = sequence->candidates(position, 20);
    ASSERT_EQ(candidates.size(), 20u);
    EXPECT_TRUE(std::ranges::is_sorted(candidates, std::greater<>(), &TokenLogprob::logprob));
    if (i == 0) {
      EXPECT_EQ(candidates[0].token, token);
    }
    double mass = 0;
    for (const TokenLogprob& each : candidates) mass += std::exp(each.logprob);
    EXPECT_LE(mass, 1.0001);
    EXPECT_GT(mass, 0.05);
    float logprob = 1;
    ASSERT_TRUE(sequence->logprobs(position, {&candidates[7].token, 1}, {&logprob, 1}));
    EXPECT_NEAR(logprob, candidates[7].logprob, 1e-5);
  }
  const auto all = sequence->candidates(sequence->length() - 1, UINT32_MAX);
  EXPECT_EQ(all.size(), candidates_max);
  EXPECT_TRUE(sequence->candidates(sequence->length(), 5).empty()) << "what was not taken yet is not shown";
  EXPECT_TRUE(sequence->candidates(sequence->length() - 2, 5).empty());
  auto unjudged = open(plan(false));
  next(unjudged);
  EXPECT_TRUE(unjudged->candidates(unjudged->length() - 1, 5).empty());
}

TEST_F(JudgedSequenceTest, PushedTokensCountAsGeneratedAndAreContinued) {
  auto sequence = open(plan(true, 0));
  const int32_t first = next(sequence);
  const auto more = model_->tokenize(", which lies", {}).value();
  ASSERT_EQ(sequence->push(more), SequenceStatus::ok);
  const auto continued = sequence.take(8);
  EXPECT_EQ(sequence->stats().generated_tokens, 1 + more.size() + 8);
  auto fresh = open(plan(false, 0));
  ASSERT_EQ(fresh->append({&first, 1}), SequenceStatus::ok);
  ASSERT_EQ(fresh->append(more), SequenceStatus::ok);
  EXPECT_EQ(fresh.take(8), continued);
  BlockingSequence empty(*scheduler_, {.flow = 1, .tokens_max = 16});
  EXPECT_EQ(empty->push(more), SequenceStatus::invalid_argument);
}

TEST_F(JudgedSequenceTest, AMaskOfAnotherSizeOrPlaceIsRefused) {
  auto sequence = open(plan(true));
  EXPECT_EQ(sequence->mask(sequence->length() + 1, even_mask()), SequenceStatus::invalid_argument);
  EXPECT_EQ(sequence->mask(0, even_mask()), SequenceStatus::invalid_argument);
  EXPECT_EQ(sequence->mask(sequence->length(), std::span(even_mask()).first(3)), SequenceStatus::invalid_argument);
}

}  // namespace
}  // namespace realm::engine
