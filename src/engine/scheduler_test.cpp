#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

#include "engine/bare_loop.h"
#include "engine/blocking_sequence.h"
#include "engine/tested_scheduler.h"

namespace realm::engine {
namespace {

constexpr uint32_t context_tokens = 1'024;

class SchedulerTest : public LoadedModel {
 protected:
  static SchedulerOptions options() {
    SchedulerOptions options;
    options.sequences_max = 8;
    options.context_tokens_max = context_tokens;
    options.prefill_tokens_max = 256;
    return options;
  }
  static std::unique_ptr<Scheduler> start(const SchedulerOptions& options) {
    auto scheduler = Scheduler::create(model_, pool_, options);
    EXPECT_TRUE(scheduler) << scheduler.error().message;
    return std::move(*scheduler);
  }
  static std::vector<int32_t> tokens(const std::string& text) {
    return model_->tokenize(text, {.add_special = true, .parse_special = true}).value();
  }
  static BlockingSequence open(Scheduler& scheduler, const std::string& prompt, FlowId flow = 1, DecodePlan plan = {}) {
    BlockingSequence sequence(scheduler, {.flow = flow, .tokens_max = 512});
    EXPECT_TRUE(sequence);
    EXPECT_EQ(sequence->set_plan(std::move(plan)), SequenceStatus::ok);
    EXPECT_EQ(sequence->append(tokens(prompt)), SequenceStatus::ok);
    return sequence;
  }
  // Waits until what was closed has left the scheduler.
  static SchedulerStats settled(const Scheduler& scheduler) {
    SchedulerStats stats = scheduler.stats();
    for (int i = 0; i < 5'000 && (stats.sequences_open > 0 || stats.kv_tokens_reserved > 0); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      stats = scheduler.stats();
    }
    return stats;
  }
};

std::string long_text(const std::string& word) {
  std::string text = "Once upon a time";
  for (int i = 0; i < 60; ++i) text += ", there were " + std::to_string(i * 7) + " " + word;
  return text;
}

DecodePlan drawn(uint64_t seed) {
  DecodePlan plan;
  plan.sampler.temperature = 1;
  plan.sampler.top_k = 50;
  plan.sampler.seed = seed;
  return plan;
}

TEST_F(SchedulerTest, GreedyOutputEqualsThePlainLoop) {
  auto scheduler = start(options());
  BareLoop bare(*model_, *pool_, 8, context_tokens, options().one_flow_tokens_max);
  for (const std::string& prompt : {std::string("The capital of France is"), std::string("def fibonacci(n):"), long_text("bridges")}) {
    const auto plain = bare.generate({tokens(prompt)}, 32);
    ASSERT_EQ(plain.size(), 1u);
    auto sequence = open(*scheduler, prompt);
    EXPECT_EQ(sequence.take(32), plain[0]) << prompt;
  }
}

TEST_F(SchedulerTest, SequencesShareSteps) {
  auto scheduler = start(options());
  const uint64_t steps_before = scheduler->stats().steps;
  std::vector<std::thread> owners;
  for (int i = 0; i < 8; ++i) {
    owners.emplace_back([&, i] { EXPECT_EQ(open(*scheduler, "Story number " + std::to_string(i), i).take(40).size(), 40u); });
  }
  for (auto& owner : owners) owner.join();
  const uint64_t steps = scheduler->stats().steps - steps_before;
  EXPECT_LT(steps, 8u * 40u / 2) << "eight sequences of 40 tokens must not take a step each";
}

TEST_F(SchedulerTest, RunningAheadDoesNotChangeTheOutput) {
  auto scheduler = start(options());
  const auto ahead = open(*scheduler, "A list of animals:", 1, drawn(7)).take(48);
  // An owner that states its plan anew after every token never profits from running ahead.
  auto stepwise = open(*scheduler, "A list of animals:", 1, drawn(7));
  std::vector<int32_t> output;
  for (size_t i = 0; i < ahead.size(); ++i) {
    int32_t token = 0;
    ASSERT_EQ(stepwise.next({&token, 1}).count, 1u);
    output.push_back(token);
    if (i % 5 == 4) {
      EXPECT_EQ(stepwise->set_plan(drawn(7)), SequenceStatus::ok);
    }
  }
  EXPECT_EQ(output, ahead);
}

TEST_F(SchedulerTest, SameSeedSameOutputAndAnotherSeedAnother) {
  auto scheduler = start(options());
  const auto first = open(*scheduler, "Write a poem.", 1, drawn(1)).take(24);
  EXPECT_EQ(open(*scheduler, "Write a poem.", 1, drawn(1)).take(24), first);
  EXPECT_NE(open(*scheduler, "Write a poem.", 1, drawn(2)).take(24), first);
}

TEST_F(SchedulerTest, RejectRollsBackAndBans) {
  auto scheduler = start(options());
  const auto greedy = open(*scheduler, "The capital of France is").take(12);
  auto sequence = open(*scheduler, "The capital of France is");
  const uint32_t prompt_length = sequence->length();
  ASSERT_EQ(sequence.take(6), std::vector<int32_t>(greedy.begin(), greedy.begin() + 6));
  // Refuse the fourth token, twice over.
  ASSERT_EQ(sequence->reject(prompt_length + 3, {&greedy[3], 1}), SequenceStatus::ok);
  EXPECT_EQ(sequence->length(), prompt_length + 3);
  int32_t second_choice = 0;
  ASSERT_EQ(sequence.next({&second_choice, 1}).count, 1u);
  EXPECT_NE(second_choice, greedy[3]);
  const int32_t both[] = {greedy[3], second_choice};
  ASSERT_EQ(sequence->reject(prompt_length + 3, both), SequenceStatus::ok);
  int32_t third_choice = 0;
  ASSERT_EQ(sequence.next({&third_choice, 1}).count, 1u);
  EXPECT_NE(third_choice, greedy[3]);
  EXPECT_NE(third_choice, second_choice);
  // Without a ban the draw is the first one again, and so is what follows.
  ASSERT_EQ(sequence->reject(prompt_length + 3, {}), SequenceStatus::ok);
  EXPECT_EQ(sequence.take(9), std::vector<int32_t>(greedy.begin() + 3, greedy.end()));
}

TEST_F(SchedulerTest, BansInOnePlaceAddUp) {
  auto scheduler = start(options());
  auto sequence = open(*scheduler, "The capital of France is");
  const uint32_t position = sequence->length();
  std::vector<int32_t> seen;
  for (int i = 0; i < 5; ++i) {
    int32_t token = 0;
    ASSERT_EQ(sequence.next({&token, 1}).count, 1u);
    EXPECT_EQ(std::count(seen.begin(), seen.end(), token), 0);
    seen.push_back(token);
    ASSERT_EQ(sequence->reject(position, {&token, 1}), SequenceStatus::ok);
  }
}

TEST_F(SchedulerTest, AppendContinuesFromTheOwnersLength) {
  auto scheduler = start(options());
  auto sequence = open(*scheduler, "One, two,");
  const auto taken = sequence.take(2);  // more have been computed ahead
  ASSERT_EQ(sequence->append(tokens(" and then")), SequenceStatus::ok);
  const auto continued = sequence.take(8);
  auto fresh_tokens = tokens("One, two,");
  fresh_tokens.insert(fresh_tokens.end(), taken.begin(), taken.end());
  const auto more = tokens(" and then");
  fresh_tokens.insert(fresh_tokens.end(), more.begin(), more.end());
  BlockingSequence fresh(*scheduler, {.flow = 1, .tokens_max = 512});
  ASSERT_EQ(fresh->append(fresh_tokens), SequenceStatus::ok);
  EXPECT_EQ(fresh.take(8), continued);
}

TEST_F(SchedulerTest, ParkedSequenceGoesOnWhereItWas) {
  auto scheduler = start(options());
  const auto uninterrupted = open(*scheduler, "The recipe needs").take(80);
  auto paused = open(*scheduler, "The recipe needs");
  auto output = paused.take(4);
  while (scheduler->stats().decode_tokens == 0) std::this_thread::yield();
  // The owner stops taking; the sequence stops when its mailbox is full, and others take its place in the dense range.
  for (int i = 0; i < 3; ++i) EXPECT_EQ(open(*scheduler, "Another story " + std::to_string(i), 2).take(40).size(), 40u);
  EXPECT_GT(scheduler->stats().parks, 0u);
  const auto rest = paused.take(76);
  output.insert(output.end(), rest.begin(), rest.end());
  EXPECT_EQ(output, uninterrupted);
}

TEST_F(SchedulerTest, ParkedBeyondTheBudgetIsComputedAgain) {
  auto small = options();
  small.saved_bytes_max = 1;
  auto scheduler = start(small);
  const auto uninterrupted = open(*scheduler, "The recipe needs").take(60);
  auto paused = open(*scheduler, "The recipe needs");
  auto output = paused.take(4);
  EXPECT_EQ(open(*scheduler, "Another story", 2).take(60).size(), 60u);
  EXPECT_EQ(scheduler->stats().saved_bytes, 0u);
  const auto rest = paused.take(56);
  output.insert(output.end(), rest.begin(), rest.end());
  // Recomputed in one batch instead of token by token, so the last bits of the logits may differ; the beginning must not.
  ASSERT_EQ(output.size(), uninterrupted.size());
  EXPECT_TRUE(std::equal(output.begin(), output.begin() + 20, uninterrupted.begin()));
}

TEST_F(SchedulerTest, EndedNeighboursLeaveNoGap) {
  auto scheduler = start(options());
  std::vector<std::thread> owners;
  for (int i = 0; i < 8; ++i) {
    owners.emplace_back([&, i] { EXPECT_EQ(open(*scheduler, "Tell me more.", i).take(8 + 12 * i).size(), 8u + 12 * i); });
  }
  for (auto& owner : owners) owner.join();
  const auto stats = settled(*scheduler);
  EXPECT_EQ(stats.sequences_active, 0u);
  EXPECT_EQ(stats.kv_tokens_reserved, 0u);
}

TEST_F(SchedulerTest, PrefixIsReusedWithinAFlowOnly) {
  auto scheduler = start(options());
  const auto turn = tokens("The quick brown fox jumps over the lazy dog, again and again, until the evening comes and it sleeps.");
  const auto run = [&](FlowId flow) {
    BlockingSequence sequence(*scheduler, {.flow = flow, .tokens_max = 256, .keep_prefix = true});
    EXPECT_EQ(sequence->append(turn), SequenceStatus::ok);
    auto output = sequence.take(8);
    return std::make_pair(output, sequence->stats().cached_tokens);
  };
  const auto [first, cached_first] = run(1);
  settled(*scheduler);
  const auto [other, cached_other] = run(2);
  settled(*scheduler);
  const auto [second, cached_second] = run(1);
  EXPECT_EQ(cached_first, 0u);
  EXPECT_EQ(cached_other, 0u) << "a prefix of flow 1 served flow 2";
  EXPECT_EQ(cached_second, turn.size() - 1);
  EXPECT_EQ(other, first);
  EXPECT_EQ(second, first);
  settled(*scheduler);
  scheduler->forget_flow(1);
  EXPECT_EQ(run(1).second, 0u);
}

TEST_F(SchedulerTest, CloseFreesTheSequenceWithinAStep) {
  auto scheduler = start(options());
  auto sequence = open(*scheduler, "An endless story:");
  sequence.take(2);
  const uint64_t steps = scheduler->stats().steps;
  sequence.close();
  const auto stats = settled(*scheduler);
  EXPECT_EQ(stats.sequences_open, 0u);
  EXPECT_EQ(stats.kv_tokens_reserved, 0u);
  EXPECT_LE(stats.steps, steps + run_ahead_tokens_max);
}

TEST_F(SchedulerTest, StopAtEndDoesNotRunPastIt) {
  auto scheduler = start(options());
  DecodePlan plan;
  plan.stop_at_end = true;
  plan.new_tokens_max = 5;
  auto sequence = open(*scheduler, "Count: 1, 2, 3,", 1, plan);
  EXPECT_EQ(sequence.take(5).size(), 5u);
  const auto settled_steps = [&] {
    // Statistics follow a step; the scheduler is idle once they stand still.
    uint64_t steps = 0;
    do {
      steps = scheduler->stats().steps;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    } while (scheduler->stats().steps != steps);
    return steps;
  };
  EXPECT_EQ(settled_steps(), 5u) << "one for the prompt and its token, one for each of the other four, none beyond";
  EXPECT_EQ(sequence.take(3).size(), 3u) << "the owner may still ask for more";
}

TEST_F(SchedulerTest, ContextFullIsTold) {
  auto scheduler = start(options());
  const auto prompt = tokens("Up to the brim");
  BlockingSequence sequence(*scheduler, {.flow = 1, .tokens_max = static_cast<uint32_t>(prompt.size()) + 4});
  ASSERT_EQ(sequence->append(prompt), SequenceStatus::ok);
  EXPECT_EQ(sequence.take(10).size(), 4u);
  int32_t token = 0;
  EXPECT_EQ(sequence.next({&token, 1}).status, SequenceStatus::context_full);
  EXPECT_EQ(sequence->append(prompt), SequenceStatus::context_full);
}

TEST_F(SchedulerTest, NothingUncheckedIsAccepted) {
  auto scheduler = start(options());
  BlockingSequence sequence(*scheduler, {.flow = 1, .tokens_max = 64});
  const auto vocabulary = static_cast<int32_t>(model_->info().vocabulary_tokens);
  for (const int32_t bad : {-1, vocabulary, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(sequence->append({&bad, 1}), SequenceStatus::invalid_argument);
  }
  int32_t token = 0;
  EXPECT_EQ(sequence.next({&token, 1}).status, SequenceStatus::invalid_argument) << "nothing to continue from";
  ASSERT_EQ(sequence->append(tokens("Hello there")), SequenceStatus::ok);
  EXPECT_EQ(sequence->truncate(1'000), SequenceStatus::invalid_argument);
  EXPECT_EQ(sequence->reject(0, {}), SequenceStatus::invalid_argument);
  EXPECT_EQ(sequence->reject(1'000, {}), SequenceStatus::invalid_argument);
  for (const int32_t bad : {-1, vocabulary}) EXPECT_EQ(sequence->reject(1, {&bad, 1}), SequenceStatus::invalid_argument);
  DecodePlan plan;
  plan.sampler.temperature = -1;
  EXPECT_EQ(sequence->set_plan(plan), SequenceStatus::invalid_argument);
  EXPECT_EQ(scheduler->open({.flow = 1, .tokens_max = context_tokens + 1}).error().code, ErrorCode::context_exceeded);
}

TEST_F(SchedulerTest, KvIsReservedAtAdmissionAndTheQueueHasADeadline) {
  auto small = options();
  small.kv_bytes_max = 600 * 23'040;  // 600 tokens of SmolLM2
  auto scheduler = start(small);
  ASSERT_NEAR(static_cast<double>(scheduler->stats().kv_tokens_capacity), 600, 2);
  auto holder = open(*scheduler, "The first one holds 512 tokens.");
  holder.take(1);
  BlockingSequence late(*scheduler, {.flow = 2, .tokens_max = 512, .queue_deadline_ms = 50});
  ASSERT_EQ(late->append(tokens("No room for me")), SequenceStatus::ok);
  std::thread keep_busy([&] { holder.take(200); });
  int32_t token = 0;
  EXPECT_EQ(late.next({&token, 1}).status, SequenceStatus::deadline_exceeded);
  keep_busy.join();
  BlockingSequence too_large(*scheduler, {.flow = 3, .tokens_max = 1'000});
  ASSERT_EQ(too_large->append(tokens("Too large for ever")), SequenceStatus::ok);
  EXPECT_EQ(too_large.next({&token, 1}).status, SequenceStatus::limit);
  // An idle holder makes room.
  EXPECT_EQ(open(*scheduler, "Now there is room", 2).take(4).size(), 4u);
}

TEST_F(SchedulerTest, StoppingWakesEveryOwner) {
  auto scheduler = start(options());
  auto sequence = open(*scheduler, "A story that is cut short");
  sequence.take(1);
  std::thread stopper([&] { scheduler.reset(); });
  while (sequence.take(16).size() == 16) {
  }
  stopper.join();
  int32_t token = 0;
  EXPECT_EQ(sequence.next({&token, 1}).status, SequenceStatus::unavailable);
}

TEST_F(SchedulerTest, OptionsAreChecked) {
  auto bad = options();
  bad.sequences_max = 257;
  EXPECT_EQ(Scheduler::create(model_, pool_, bad).error().code, ErrorCode::invalid_argument);
  bad = options();
  bad.context_tokens_max = 1u << 30;
  EXPECT_EQ(Scheduler::create(model_, pool_, bad).error().code, ErrorCode::invalid_argument);
}

TEST_F(SchedulerTest, TwoHundredFiftySixAreActiveAtOnce) {
  const char* file = std::getenv("REALM_TINY_MODEL");
  ASSERT_NE(file, nullptr) << "set REALM_TINY_MODEL to what tools/make_tiny_model.py writes";
  auto model = Model::load({.file = file, .backend = BackendChoice::cpu});
  ASSERT_TRUE(model) << model.error().message;
  auto many = options();
  many.sequences_max = 256;
  many.context_tokens_max = 256;
  auto scheduler = Scheduler::create(*model, pool_, many);
  ASSERT_TRUE(scheduler) << scheduler.error().message;
  const auto prompt = (*model)->tokenize("one of very many", {.add_special = true, .parse_special = true}).value();
  std::vector<BlockingSequence> sequences;
  for (uint32_t i = 0; i < 300; ++i) {
    sequences.emplace_back(**scheduler, SequenceOptions{.flow = i, .tokens_max = 64});
    ASSERT_TRUE(sequences.back());
    ASSERT_EQ(sequences.back()->append(prompt), SequenceStatus::ok);
    int32_t token = 0;
    sequences.back()->next({&token, 1});
  }
  uint32_t most = 0;
  std::vector<std::thread> owners;
  for (auto& sequence : sequences) owners.emplace_back([&sequence] { EXPECT_EQ(sequence.take(30).size(), 30u); });
  while (most < 256 && (*scheduler)->stats().sequences_open > 0 && (*scheduler)->stats().decode_tokens < 300 * 29) {
    most = std::max(most, (*scheduler)->stats().sequences_active);
    std::this_thread::yield();
  }
  for (auto& owner : owners) owner.join();
  EXPECT_EQ(most, 256u);
}

// Starts computing `prompt` and returns once a step of it is over. Its weight is so small that one step puts it ahead of anybody.
BlockingSequence flood(Scheduler& scheduler, const std::vector<int32_t>& prompt) {
  scheduler.set_flow_weight(1, 0.1);
  BlockingSequence sequence(scheduler, {.flow = 1, .tokens_max = context_tokens});
  EXPECT_EQ(sequence->append(prompt), SequenceStatus::ok);
  int32_t token = 0;
  sequence->next({&token, 1});
  while (scheduler.stats().prefill_tokens == 0) std::this_thread::yield();
  return sequence;
}

TEST_F(SchedulerTest, PromptsThatComeTogetherAreReadyOneAfterTheOther) {
  SchedulerOptions small = options();
  small.prefill_tokens_max = 16;
  auto scheduler = start(small);
  const std::string prompt = long_text("bridges").substr(0, 300);
  std::vector<BlockingSequence> sequences;
  for (FlowId flow = 1; flow <= 6; ++flow) sequences.push_back(open(*scheduler, prompt, flow));
  std::atomic<uint64_t> computed = 0;  // prompt tokens when the first was ready, when the second was, ...
  std::vector<std::jthread> owners;
  for (auto& sequence : sequences) {
    owners.emplace_back([&] {
      EXPECT_EQ(sequence.take(1).size(), 1u);
      computed += scheduler->stats().prefill_tokens;
    });
  }
  owners.clear();
  EXPECT_LT(computed, 26 * tokens(prompt).size()) << "1 + 2 + ... + 6 prompts would be 21, all at the end 36";
}

TEST_F(SchedulerTest, ANewcomerEndsTheStepOfALongPrompt) {
  const auto prompt = tokens(long_text("bridges"));
  const auto alone = open(*start(options()), "The capital of France is").take(8);
  uint64_t interrupted = 0;
  for (int round = 0; round < 5 && interrupted == 0; ++round) {  // it may come just between two steps
    auto scheduler = start(options());
    auto busy = flood(*scheduler, prompt);
    EXPECT_EQ(open(*scheduler, "The capital of France is", 2).take(8), alone);
    EXPECT_LT(scheduler->stats().prefill_tokens, prompt.size());
    EXPECT_EQ(busy.take(8).size(), 8u) << "what was lost is computed again";
    interrupted = scheduler->stats().interrupted_steps;
  }
  EXPECT_EQ(interrupted, 1u);
}

TEST_F(SchedulerTest, AFloodOfLongPromptsTakesItsShareOfTheTimeAndNoMore) {
  auto scheduler = start(options());
  std::vector<BlockingSequence> busy;
  for (const char* word : {"bridges", "rivers", "clocks", "ships"}) busy.push_back(flood(*scheduler, tokens(long_text(word))));
  const uint64_t before = scheduler->stats().prefill_tokens;
  EXPECT_EQ(open(*scheduler, "The capital of France is", 2).take(40).size(), 40u);
  // Forty tokens take as long as some hundred of prompts.
  EXPECT_LT(scheduler->stats().prefill_tokens - before, 400u);
  EXPECT_GT(scheduler->stats().prefill_tokens, before) << "the flood goes on";
}

TEST_F(SchedulerTest, ANewcomerDoesNotWaitForCopiesOfAFlood) {
  auto scheduler = start(options());
  std::vector<BlockingSequence> busy;
  for (const char* word : {"bridges", "rivers", "clocks", "ships"}) busy.push_back(flood(*scheduler, tokens(long_text(word))));
  auto newcomer = open(*scheduler, "The capital of France is", 2);
  EXPECT_EQ(newcomer.take(8).size(), 8u);
  EXPECT_EQ(scheduler->stats().parks, 0u) << "there is a place for everybody";
}

TEST_F(SchedulerTest, AFloodThatFillsTheBatchGivesAPlaceUp) {
  const auto alone = open(*start(options()), "The capital of France is").take(8);
  auto scheduler = start(options());
  std::vector<BlockingSequence> busy;
  for (uint32_t i = 0; i < options().sequences_max; ++i) busy.push_back(flood(*scheduler, tokens(long_text("ships " + std::to_string(i)))));
  auto newcomer = open(*scheduler, "The capital of France is", 2);
  EXPECT_EQ(newcomer.take(8), alone);
  EXPECT_LE(scheduler->stats().parks, 1u) << "nobody else leaves";
  EXPECT_LT(scheduler->stats().prefill_tokens, busy.size() * tokens(long_text("ships 0")).size()) << "the flood is still there";
}

// Owners of a flow who take tokens without end.
class Crowd {
 public:
  Crowd(Scheduler& scheduler, uint32_t count, const std::vector<int32_t>& prompt) {
    for (uint32_t i = 0; i < count; ++i) {
      BlockingSequence sequence(scheduler, {.flow = 1, .tokens_max = context_tokens});
      EXPECT_EQ(sequence->set_plan({.stop_at_end = false}), SequenceStatus::ok);
      EXPECT_EQ(sequence->append(prompt), SequenceStatus::ok);
      owners_.emplace_back([this, sequence = std::move(sequence)]() mutable {
        sequence.take(1);
        ++begun_;
        while (!stopping_ && !sequence.take(1).empty()) ++taken_;
      });
    }
    while (begun_ < count) std::this_thread::yield();
  }
  ~Crowd() {
    stopping_ = true;
    for (auto& owner : owners_) owner.join();
  }
  uint32_t taken() const { return taken_; }

 private:
  std::atomic<bool> stopping_ = false;
  std::atomic<uint32_t> begun_ = 0;
  std::atomic<uint32_t> taken_ = 0;
  std::vector<std::thread> owners_;
};

TEST_F(SchedulerTest, AFlowOfManyAnswersLeavesAnotherItsShareOfTheTime) {
  const auto alone = open(*start(options()), "The capital of France is").take(40);
  auto many = options();
  many.sequences_max = 16;
  auto scheduler = start(many);
  Crowd crowd(*scheduler, 15, tokens("Once upon a time"));
  auto one = open(*scheduler, "The capital of France is", 2);
  const uint32_t before = crowd.taken();
  EXPECT_EQ(one.take(40), alone);
  // In the steps of the other it would have had fifteen times as many.
  EXPECT_LT(crowd.taken() - before, 10u * 40);
  EXPECT_GT(crowd.taken(), before) << "it goes on";
}

TEST_F(SchedulerTest, AFlowOfManyAnswersGoesOnBesidePromptsWithoutEnd) {
  auto many = options();
  many.sequences_max = 20;
  auto scheduler = start(many);
  Crowd crowd(*scheduler, 15, tokens("Once upon a time"));
  const uint32_t before = crowd.taken();
  std::vector<std::thread> others;
  for (FlowId flow = 2; flow < 5; ++flow) {
    others.emplace_back([&scheduler, flow] {
      BlockingSequence sequence(*scheduler, {.flow = flow, .tokens_max = context_tokens});
      sequence->append(tokens(long_text("ships " + std::to_string(flow))));
      EXPECT_EQ(sequence.take(1).size(), 1u);
    });
  }
  for (auto& other : others) other.join();
  EXPECT_GT(crowd.taken() - before, 45u) << "it waits for their first tokens, but not for ever";
}

TEST_F(SchedulerTest, AFlowThatGeneratesInEveryPlaceGivesOneUp) {
  const auto alone = open(*start(options()), "The capital of France is").take(8);
  auto scheduler = start(options());
  Crowd crowd(*scheduler, options().sequences_max, tokens("Once upon a time"));
  EXPECT_EQ(open(*scheduler, "The capital of France is", 2).take(8), alone);
  EXPECT_GE(scheduler->stats().parks, 1u);
}

// Random owners that take, reject, append, truncate and leave: nothing is lost, nothing leaks, nobody waits for ever.
TEST_F(SchedulerTest, RandomOwnersLeaveNothingBehind) {
  auto scheduler = start(options());
  std::vector<std::thread> owners;
  for (unsigned seed = 0; seed < 12; ++seed) {
    owners.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int round = 0; round < 3; ++round) {
        auto sequence = open(*scheduler, "Chapter " + std::to_string(random() % 1'000), seed % 4, drawn(seed));
        for (int action = 0; action < 8; ++action) {
          const uint32_t length = sequence->length();
          switch (random() % 4) {
            case 0:
              sequence.take(1 + random() % 12);
              break;
            case 1:
              sequence->reject(1 + random() % length, {});
              break;
            case 2:
              sequence->append(tokens(" and"));
              break;
            default:
              sequence->truncate(1 + random() % length);
              break;
          }
        }
      }
    });
  }
  for (auto& owner : owners) owner.join();
  const auto stats = settled(*scheduler);
  EXPECT_EQ(stats.sequences_open, 0u);
  EXPECT_EQ(stats.sequences_active, 0u);
  EXPECT_EQ(stats.sequences_waiting, 0u);
  EXPECT_EQ(stats.kv_tokens_reserved, 0u);
  EXPECT_EQ(stats.saved_bytes, 0u);
}

}  // namespace
}  // namespace realm::engine
