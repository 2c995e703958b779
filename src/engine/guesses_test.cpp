// Guessed tokens: the output is the same, and right guesses save steps.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <thread>

#include "engine/blocking_sequence.h"
#include "engine/tested_scheduler.h"

namespace realm::engine {
namespace {

constexpr size_t answer_tokens = 24;

class GuessesTest : public SmallScheduler {
 protected:
  BlockingSequence open(float temperature, uint32_t tokens_max = 256, uint32_t new_tokens_max = 0) {
    BlockingSequence sequence(*scheduler_, {.flow = 1, .tokens_max = tokens_max});
    DecodePlan plan;
    plan.sampler.temperature = temperature;
    plan.sampler.seed = 3;
    plan.new_tokens_max = new_tokens_max;
    EXPECT_EQ(sequence->set_plan(plan), SequenceStatus::ok);
    EXPECT_EQ(sequence->append(prompt()), SequenceStatus::ok);
    return sequence;
  }
  std::vector<int32_t> prompt() const { return model_->tokenize("The lighthouse keeper looked out over the sea and", {}).value(); }

  // Takes `expected.size()` tokens and guesses what `guess` makes of those still to come.
  template <class Guess>
  std::vector<int32_t> take_guessing(BlockingSequence& sequence, const std::vector<int32_t>& expected, const Guess& guess) {
    std::vector<int32_t> said(expected.size());
    for (size_t taken = 0; taken < said.size();) {
      const auto count = static_cast<ptrdiff_t>(std::min<size_t>(expected.size() - taken, guesses_max));
      const auto next = expected.begin() + static_cast<ptrdiff_t>(taken);
      EXPECT_EQ(sequence->guess(guess(std::vector<int32_t>(next, next + count))), SequenceStatus::ok);
      const auto got = sequence.next(std::span(said).subspan(taken));
      if (got.status != SequenceStatus::ok) break;
      taken += got.count;
    }
    return said;
  }
  SchedulerStats stats_after(BlockingSequence& sequence) {
    sequence.close();
    for (int i = 0; i < 5'000 && scheduler_->stats().sequences_open > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return scheduler_->stats();
  }
};

TEST_F(GuessesTest, RightGuessesSaveSteps) {
  for (const float temperature : {0.0f, 0.8f}) {
    auto plain = open(temperature);
    const auto expected = plain.take(answer_tokens);
    const SchedulerStats before = stats_after(plain);
    auto guessing = open(temperature);
    const auto said = take_guessing(guessing, expected, [](std::vector<int32_t> right) { return right; });
    EXPECT_EQ(said, expected);
    const SchedulerStats after = stats_after(guessing);
    EXPECT_LT(after.steps - before.steps, answer_tokens / 3);
    EXPECT_GT(after.guessed_right_tokens - before.guessed_right_tokens, answer_tokens / 2);
  }
}

TEST_F(GuessesTest, WrongGuessesChangeNothing) {
  const auto wrong_from = [](size_t right) {
    return [right](std::vector<int32_t> tokens) {
      for (size_t i = right; i < tokens.size(); ++i) tokens[i] = tokens[i] == 100 ? 101 : 100;
      return tokens;
    };
  };
  for (const float temperature : {0.0f, 0.8f}) {
    auto plain = open(temperature);
    const auto expected = plain.take(answer_tokens);
    for (const size_t right : {0, 2}) {
      auto guessing = open(temperature);
      EXPECT_EQ(take_guessing(guessing, expected, wrong_from(right)), expected) << right << " right ones";
    }
  }
  EXPECT_GT(scheduler_->stats().guessed_tokens, scheduler_->stats().guessed_right_tokens);
}

TEST_F(GuessesTest, GuessesStayWithinTheBoundsOfTheSequence) {
  const auto length = static_cast<uint32_t>(prompt().size());
  auto plain = open(0);
  const auto expected = plain.take(answer_tokens);
  const auto first = [&](size_t count) { return std::vector<int32_t>(expected.begin(), expected.begin() + static_cast<ptrdiff_t>(count)); };
  for (const uint32_t room : {1u, 2u, 5u}) {
    auto full = open(0, length + room);
    ASSERT_EQ(full->guess(first(16)), SequenceStatus::ok);
    EXPECT_EQ(full.take(answer_tokens), first(room));
    auto bounded = open(0, 256, room);
    ASSERT_EQ(bounded->guess(first(16)), SequenceStatus::ok);
    EXPECT_EQ(bounded.take(room), first(room));
    EXPECT_EQ(bounded.take(answer_tokens - room), std::vector<int32_t>(expected.begin() + room, expected.end())) << "it goes on when asked";
  }
}

TEST_F(GuessesTest, AChangeDropsTheGuesses) {
  auto plain = open(0);
  const auto expected = plain.take(answer_tokens);
  auto sequence = open(0);
  ASSERT_EQ(sequence->guess(std::span(expected).first(8)), SequenceStatus::ok);
  const auto more = model_->tokenize(" then", {}).value();
  ASSERT_EQ(sequence->append(more), SequenceStatus::ok);
  auto fresh = open(0);
  ASSERT_EQ(fresh->append(more), SequenceStatus::ok);
  EXPECT_EQ(sequence.take(16), fresh.take(16));
  EXPECT_EQ(stats_after(plain).guessed_tokens, 0u);
}

TEST_F(GuessesTest, NobodyElsePaysForThem) {
  auto plain = open(0);
  const auto expected = plain.take(answer_tokens);
  BlockingSequence neighbour(*scheduler_, {.flow = 2, .tokens_max = 400});
  ASSERT_EQ(neighbour->append(prompt()), SequenceStatus::ok);
  std::atomic<bool> done = false;
  neighbour.take(1);
  std::thread chatting([&] {
    while (!done && neighbour->length() < 390) neighbour.take(1);
  });
  auto guessing = open(0);
  guessing.take(1);
  const uint64_t before = scheduler_->stats().guessed_tokens;
  EXPECT_EQ(take_guessing(guessing, {expected.begin() + 1, expected.end()}, [](std::vector<int32_t> right) { return right; }),
            std::vector<int32_t>(expected.begin() + 1, expected.end()));
  const uint64_t guessed = scheduler_->stats().guessed_tokens - before;
  done = true;
  chatting.join();
  EXPECT_LT(guessed, answer_tokens / 2) << "only in steps that the other flow had no part in";
}

TEST_F(GuessesTest, TooManyOrUnknownTokensAreRefused) {
  auto sequence = open(0);
  EXPECT_EQ(sequence->guess(std::vector<int32_t>(guesses_max + 1, 5)), SequenceStatus::limit);
  EXPECT_EQ(sequence->guess(std::vector<int32_t>{-1}), SequenceStatus::invalid_argument);
  EXPECT_EQ(sequence->guess(std::vector<int32_t>{static_cast<int32_t>(model_->info().vocabulary_tokens)}),
            SequenceStatus::invalid_argument);
  EXPECT_EQ(sequence->guess({}), SequenceStatus::ok);
}

}  // namespace
}  // namespace realm::engine
