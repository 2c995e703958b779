// Whatever became of a sequence's KV on the way, it is what a fresh prefill of the same tokens gives; and whoever comes and goes, nobody
// ever gets a token of somebody else's.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <random>
#include <thread>

#include "engine/blocking_sequence.h"

namespace realm::engine {
namespace {

constexpr uint32_t context_tokens = 256;
constexpr float logit_tolerance = 0.05f;  // batches of another shape differ in the last bits; another history differs by whole numbers

class KvPropertyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* file = std::getenv("REALM_TINY_MODEL");
    ASSERT_NE(file, nullptr) << "set REALM_TINY_MODEL (`make test` does)";
    auto pool = ComputePool::create(1);
    ASSERT_TRUE(pool) << pool.error().message;
    pool_ = *pool;
    auto model = Model::load({.file = file, .backend = BackendChoice::cpu});
    ASSERT_TRUE(model) << model.error().message;
    model_ = *model;
  }
  void start(uint32_t sequences_max, uint64_t saved_bytes_max, uint64_t kv_tokens_max = 0) {
    SchedulerOptions options;
    options.sequences_max = sequences_max;
    options.context_tokens_max = context_tokens;
    options.saved_bytes_max = saved_bytes_max;
    options.prefill_tokens_max = 32;
    if (scheduler_ != nullptr && kv_tokens_max > 0) options.kv_bytes_max = kv_tokens_max * scheduler_->stats().kv_bytes_per_token;
    scheduler_.reset();
    auto scheduler = Scheduler::create(model_, pool_, options);
    ASSERT_TRUE(scheduler) << scheduler.error().message;
    scheduler_ = std::move(*scheduler);
  }
  std::vector<int32_t> some_tokens(std::mt19937& random, size_t count) const {
    std::vector<int32_t> tokens(count);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random() % model_->info().vocabulary_tokens);
    return tokens;
  }
  void expect_settled() const {
    SchedulerStats stats;
    for (int i = 0; i < 5'000; ++i) {
      stats = scheduler_->stats();
      if (stats.sequences_open == 0 && stats.kv_tokens_reserved == 0) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(stats.sequences_open, 0u);
    EXPECT_EQ(stats.sequences_active, 0u);
    EXPECT_EQ(stats.sequences_waiting, 0u);
    EXPECT_EQ(stats.kv_tokens_reserved, 0u);
    EXPECT_EQ(stats.saved_bytes, 0u);
  }

  std::shared_ptr<ComputePool> pool_;
  std::shared_ptr<Model> model_;
  std::unique_ptr<Scheduler> scheduler_;
};

DecodePlan judged() {
  DecodePlan plan;
  plan.keep_rows = true;
  return plan;
}

// A sequence and what its tokens must be.
struct History {
  BlockingSequence sequence;
  std::vector<int32_t> tokens;
};

void go_on(History& history, std::mt19937& random, Scheduler& scheduler, const std::vector<int32_t>& more) {
  const auto length = static_cast<uint32_t>(history.tokens.size());
  const uint32_t shorter = 1 + random() % length;
  const SequenceOptions options{.flow = 1, .tokens_max = context_tokens};
  switch (random() % 6) {
    case 0: {
      const auto taken = history.sequence.take(1 + random() % 9);
      history.tokens.insert(history.tokens.end(), taken.begin(), taken.end());
      break;
    }
    case 1:
      ASSERT_EQ(history.sequence->append(more), SequenceStatus::ok);
      history.tokens.insert(history.tokens.end(), more.begin(), more.end());
      break;
    case 2:
      ASSERT_EQ(history.sequence->truncate(shorter), SequenceStatus::ok);
      history.tokens.resize(shorter);
      break;
    case 3:  // a fork in its place
      history.sequence = BlockingSequence(scheduler, *history.sequence, shorter, options);
      ASSERT_TRUE(history.sequence);
      history.tokens.resize(shorter);
      break;
    case 4: {  // saved, closed, loaded
      SequenceOptions dormant = options;
      dormant.dormant = true;
      const BlockingSequence saved(scheduler, *history.sequence, length, dormant);
      ASSERT_TRUE(saved);
      history.sequence.close();
      history.sequence = BlockingSequence(scheduler, *saved, length, options);
      break;
    }
    default:  // others need the places, so it is parked
      for (int i = 0; i < 2; ++i) {
        BlockingSequence other(scheduler, {.flow = 2, .tokens_max = 64});
        ASSERT_EQ(other->append(more), SequenceStatus::ok);
        other.take(20);
      }
  }
}

// The row of logits behind the last token.
std::vector<float> row_after(BlockingSequence& sequence, uint32_t vocabulary) {
  const uint32_t position = sequence->length();
  EXPECT_EQ(sequence.take(1).size(), 1u);
  std::vector<float> row(vocabulary);
  EXPECT_EQ(sequence->logits(position, row), vocabulary);
  return row;
}

TEST_F(KvPropertyTest, ForkedTruncatedSavedLoadedAndParkedSequencesHaveTheLogitsOfAFreshPrefill) {
  float largest = 0;
  for (const uint64_t saved_bytes_max : {uint64_t{1} << 30, uint64_t{64} << 10}) {  // plenty, and so little that KV is given up
    start(2, saved_bytes_max);
    for (unsigned seed = 0; seed < 30; ++seed) {
      std::mt19937 random(seed);
      History history{BlockingSequence(*scheduler_, {.flow = 1, .tokens_max = context_tokens}), some_tokens(random, 24)};
      ASSERT_EQ(history.sequence->set_plan(judged()), SequenceStatus::ok);
      ASSERT_EQ(history.sequence->append(history.tokens), SequenceStatus::ok);
      for (int action = 0; action < 10; ++action) {
        go_on(history, random, *scheduler_, some_tokens(random, 1 + random() % 6));
        ASSERT_EQ(history.sequence->length(), history.tokens.size());
      }
      BlockingSequence fresh(*scheduler_, {.flow = 3, .tokens_max = context_tokens});
      ASSERT_EQ(fresh->set_plan(judged()), SequenceStatus::ok);
      ASSERT_EQ(fresh->append(history.tokens), SequenceStatus::ok);
      const auto row = row_after(history.sequence, model_->info().vocabulary_tokens);
      const auto expected = row_after(fresh, model_->info().vocabulary_tokens);
      for (size_t i = 0; i < row.size(); ++i) largest = std::max(largest, std::fabs(row[i] - expected[i]));
      ASSERT_LT(largest, logit_tolerance) << "seed " << seed << ", " << history.tokens.size() << " tokens";
    }
  }
  RecordProperty("largest_difference", std::to_string(largest));
}

// The check above can tell: one other token in the history is far outside of the tolerance.
TEST_F(KvPropertyTest, OneOtherTokenInTheHistoryIsSeenInTheLogits) {
  start(2, 1u << 30);
  std::mt19937 random(1);
  auto tokens = some_tokens(random, 40);
  std::vector<std::vector<float>> rows;
  for (const int32_t second : {tokens[1], (tokens[1] + 1) % static_cast<int32_t>(model_->info().vocabulary_tokens)}) {
    tokens[1] = second;
    BlockingSequence sequence(*scheduler_, {.flow = 1, .tokens_max = context_tokens});
    ASSERT_EQ(sequence->set_plan(judged()), SequenceStatus::ok);
    ASSERT_EQ(sequence->append(tokens), SequenceStatus::ok);
    rows.push_back(row_after(sequence, model_->info().vocabulary_tokens));
  }
  float largest = 0;
  for (size_t i = 0; i < rows[0].size(); ++i) largest = std::max(largest, std::fabs(rows[0][i] - rows[1][i]));
  EXPECT_GT(largest, 4 * logit_tolerance);
}

constexpr uint32_t owners_count = 24;

// An owner may only ever be given tokens whose id leaves its own number.
class Owner {
 public:
  Owner(Scheduler& scheduler, uint32_t number, uint32_t vocabulary)
      : scheduler_(scheduler), number_(number), mask_((vocabulary + 63) / 64) {
    for (uint32_t id = number; id < vocabulary; id += owners_count) mask_[id / 64] |= uint64_t{1} << (id % 64);
  }

  // Foreign tokens that it was given.
  uint32_t live(std::mt19937& random, const std::vector<int32_t>& prompt) {
    SequenceOptions options{.flow = number_ % 5, .tokens_max = static_cast<uint32_t>(64 + random() % 64), .keep_prefix = random() % 2 == 0};
    options.queue_deadline_ms = random() % 4 == 0 ? 2 : 10'000;  // some are told that there is no place
    BlockingSequence sequence(scheduler_, options);
    if (!sequence || sequence->append(prompt) != SequenceStatus::ok) return 0;
    uint32_t foreign = 0;
    for (int action = 0; action < 12; ++action) {
      const uint32_t length = sequence->length();
      switch (random() % 8) {
        case 0:
          return foreign;  // gone, with whatever is in flight
        case 1:
          (void)sequence->truncate(1 + random() % length);
          break;
        case 2:
          (void)sequence->reject(1 + random() % length, {});
          break;
        case 3: {
          BlockingSequence fork(scheduler_, *sequence, 1 + random() % length, options);
          if (fork) foreign += take(fork, 2);
          break;
        }
        default:
          foreign += take(sequence, 1 + random() % 6);
      }
    }
    return foreign;
  }

 private:
  uint32_t take(BlockingSequence& sequence, uint32_t count) {
    uint32_t foreign = 0;
    for (uint32_t i = 0; i < count; ++i) {
      if (sequence->mask(sequence->length(), mask_) != SequenceStatus::ok) return foreign;
      for (const int32_t token : sequence.take(1)) foreign += static_cast<uint32_t>(token) % owners_count != number_;
    }
    return foreign;
  }

  Scheduler& scheduler_;
  const uint32_t number_;
  std::vector<uint64_t> mask_;
};

TEST_F(KvPropertyTest, UnderRandomArrivalsCancelsAndRejectsNobodyGetsTheTokenOfAnotherAndNoCellIsLost) {
  start(6, 256u << 10);
  start(6, 256u << 10, 512);  // places for six, cells for fewer
  std::atomic<uint32_t> foreign{0};
  std::vector<std::thread> owners;
  for (uint32_t number = 0; number < owners_count; ++number) {
    owners.emplace_back([&, number] {
      std::mt19937 random(number);
      for (int round = 0; round < 6; ++round) {
        const auto prompt = some_tokens(random, 4 + random() % 40);
        foreign += Owner(*scheduler_, number, model_->info().vocabulary_tokens).live(random, prompt);
      }
    });
  }
  for (auto& owner : owners) owner.join();
  EXPECT_EQ(foreign, 0u);
  EXPECT_GT(scheduler_->stats().parks, 0u) << "places were scarce";
  for (FlowId flow = 0; flow < 5; ++flow) scheduler_->forget_flow(flow);
  expect_settled();
}

}  // namespace
}  // namespace realm::engine
