#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <semaphore>
#include <thread>

#include "engine/kv_context.h"
#include "engine/scheduler.h"

namespace realm::engine {
namespace {

// Its owner's thread waits for the vector.
class Embedded {
 public:
  Embedded(Scheduler& scheduler, uint32_t tokens_max, FlowId flow = 1, uint32_t queue_deadline_ms = 60'000)
      : sequence_(scheduler
                      .open({.flow = flow,
                             .tokens_max = tokens_max,
                             .embeds = true,
                             .queue_deadline_ms = queue_deadline_ms,
                             .on_ready = [this] { ready_.release(); }})
                      .value()) {}
  Sequence& sequence() { return *sequence_; }
  SequenceStatus wait(std::vector<float>& out) {
    while (true) {
      const auto next = sequence_->embed(out);
      if (next.status != SequenceStatus::ok || next.count > 0) return next.status;
      ready_.acquire();
    }
  }

 private:
  std::counting_semaphore<> ready_{0};
  std::unique_ptr<Sequence> sequence_;
};

class EmbeddingBatchTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* file = std::getenv("REALM_MODEL");
    ASSERT_NE(file, nullptr) << "set REALM_MODEL";
    pool_ = ComputePool::create(2).value();
    model_ = Model::load({.file = file, .backend = BackendChoice::cpu}).value();
  }
  static void TearDownTestSuite() {
    model_.reset();
    pool_.reset();
  }
  static std::unique_ptr<Scheduler> start(uint64_t kv_bytes_max = 0) {
    SchedulerOptions options;
    options.sequences_max = 4;
    options.context_tokens_max = 1'024;
    options.kv_bytes_max = kv_bytes_max;
    return std::move(*Scheduler::create(model_, pool_, options));
  }
  static std::vector<int32_t> text(size_t words) {
    std::string text = "The sea";
    for (size_t i = 0; i < words; ++i) text += " wave" + std::to_string(i % 13);
    return model_->tokenize(text, {}).value();
  }
  static std::vector<float> embed(Scheduler& scheduler, std::span<const int32_t> tokens) {
    Embedded embedded(scheduler, static_cast<uint32_t>(tokens.size()));
    EXPECT_EQ(embedded.sequence().append(tokens), SequenceStatus::ok);
    std::vector<float> values(model_->info().embedding_values);
    EXPECT_EQ(embedded.wait(values), SequenceStatus::ok);
    return values;
  }
  static double cosine(std::span<const float> a, std::span<const float> b) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      ab += double(a[i]) * double(b[i]);
      aa += double(a[i]) * double(a[i]);
      bb += double(b[i]) * double(b[i]);
    }
    return ab / std::sqrt(aa * bb);
  }

  static inline std::shared_ptr<ComputePool> pool_;
  static inline std::shared_ptr<Model> model_;
};

TEST_F(EmbeddingBatchTest, ATextInPiecesIsTheSameAsAtOnce) {
  auto scheduler = start();
  const auto tokens = text(200);
  ASSERT_GT(tokens.size(), 300u);
  const auto whole = embed(*scheduler, tokens);
  Embedded pieces(*scheduler, static_cast<uint32_t>(tokens.size()));
  for (size_t at = 0; at < tokens.size(); at += 37) {
    const auto piece = std::span(tokens).subspan(at, std::min<size_t>(37, tokens.size() - at));
    ASSERT_EQ(pieces.sequence().append(piece), SequenceStatus::ok);
    std::vector<float> of_the_beginning(model_->info().embedding_values);
    if (at == 74) {
      ASSERT_EQ(pieces.wait(of_the_beginning), SequenceStatus::ok);
    }
  }
  std::vector<float> values(model_->info().embedding_values);
  ASSERT_EQ(pieces.wait(values), SequenceStatus::ok);
  EXPECT_GT(cosine(values, whole), 0.9999);
  ASSERT_EQ(pieces.sequence().truncate(40), SequenceStatus::ok);
  ASSERT_EQ(pieces.wait(values), SequenceStatus::ok);
  EXPECT_GT(cosine(values, embed(*scheduler, std::span(tokens).first(40))), 0.9999);
}

TEST_F(EmbeddingBatchTest, TheMeanIsOverAllTokens) {
  const auto tokens = text(20);
  const auto count = static_cast<int32_t>(tokens.size());
  auto context = KvContext::create(model_, *pool_, {.streams = 1, .stream_tokens_max = 256, .batch_tokens_max = 128, .embeddings = true});
  ASSERT_TRUE(context);
  (*context)->begin_batch();
  (*context)->add(0, 0, tokens, true);
  ASSERT_TRUE((*context)->decode());
  std::vector<float> mean(model_->info().embedding_values);
  for (int32_t i = 0; i < count; ++i) {
    const auto row = (*context)->embedding(i);
    for (size_t k = 0; k < mean.size(); ++k) mean[k] += row[k] / static_cast<float>(count);
  }
  auto scheduler = start();
  const auto values = embed(*scheduler, tokens);
  for (size_t k = 0; k < mean.size(); ++k) EXPECT_NEAR(values[k], mean[k], 0.02F + 0.01F * std::abs(mean[k]));
}

TEST_F(EmbeddingBatchTest, OneKindOfSequenceDoesNotDoTheOther) {
  auto scheduler = start();
  Embedded embedded(*scheduler, 16);
  std::vector<float> values(model_->info().embedding_values);
  std::vector<int32_t> drawn(4);
  EXPECT_EQ(embedded.sequence().embed(values).status, SequenceStatus::invalid_argument) << "nothing was appended";
  ASSERT_EQ(embedded.sequence().append(text(1)), SequenceStatus::ok);
  EXPECT_EQ(embedded.sequence().next(drawn).status, SequenceStatus::invalid_argument);
  auto plain = scheduler->open({.flow = 1, .tokens_max = 16}).value();
  ASSERT_EQ(plain->append(text(1)), SequenceStatus::ok);
  EXPECT_EQ(plain->embed(values).status, SequenceStatus::invalid_argument);
  ASSERT_EQ(embedded.wait(values), SequenceStatus::ok);
  std::vector<float> too_few(3, -1);
  EXPECT_EQ(embedded.sequence().embed(too_few).count, values.size());
  EXPECT_EQ(too_few[0], -1);
}

TEST_F(EmbeddingBatchTest, ItsKvTokensAreReservedAndGivenBack) {
  const uint64_t bytes_per_token = start()->stats().kv_bytes_per_token;
  auto scheduler = start(100 * bytes_per_token);
  std::vector<float> values(model_->info().embedding_values);
  Embedded larger_than_all(*scheduler, 101);
  ASSERT_EQ(larger_than_all.sequence().append(text(5)), SequenceStatus::ok);
  EXPECT_EQ(larger_than_all.wait(values), SequenceStatus::limit);
  std::vector<std::unique_ptr<Embedded>> many;
  for (int i = 0; i < 40; ++i) {
    many.push_back(std::make_unique<Embedded>(*scheduler, 60, 1 + i % 3));
    ASSERT_EQ(many.back()->sequence().append(text(3)), SequenceStatus::ok);
  }
  for (auto& one : many) EXPECT_EQ(one->wait(values), SequenceStatus::ok);
  for (int i = 0; i < 5'000 && scheduler->stats().kv_tokens_reserved > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(scheduler->stats().kv_tokens_reserved, 0u);
  EXPECT_EQ(scheduler->stats().sequences_active, 0u);
}

TEST_F(EmbeddingBatchTest, ClosingOnesThatComputeLeavesNothingBehind) {
  auto scheduler = start();
  for (int round = 0; round < 20; ++round) {
    Embedded embedded(*scheduler, 1'024);
    ASSERT_EQ(embedded.sequence().append(text(300)), SequenceStatus::ok);
    if (round % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  const auto all_left = [&] {  // reserved tokens are told after the end of the step
    const SchedulerStats stats = scheduler->stats();
    return stats.sequences_open == 0 && stats.kv_tokens_reserved == 0;
  };
  for (int i = 0; i < 60'000 && !all_left(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(scheduler->stats().sequences_open, 0u);
  EXPECT_EQ(scheduler->stats().kv_tokens_reserved, 0u);
}

}  // namespace
}  // namespace realm::engine
