// Forks: the same output as that of a fresh sequence, without computing the prompt again.
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "engine/blocking_sequence.h"

namespace realm::engine {
namespace {

// What is computed besides prompts' slices of more than one token: the last token of a fork, and what follows a change.
constexpr uint64_t few_tokens = 16;

class ForkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto pool = ComputePool::create(1);
    ASSERT_TRUE(pool) << pool.error().message;
    pool_ = *pool;
    load("REALM_TINY_MODEL");
  }
  void load(const char* variable) {
    const char* file = std::getenv(variable);
    ASSERT_NE(file, nullptr) << "set " << variable << " (`make test` does)";
    auto model = Model::load({.file = file, .backend = BackendChoice::cpu});
    ASSERT_TRUE(model) << model.error().message;
    model_ = *model;
    start(1ull << 30);
  }
  void start(uint64_t saved_bytes_max) {
    scheduler_.reset();
    SchedulerOptions options;
    options.sequences_max = 8;
    options.context_tokens_max = 512;
    options.prefill_tokens_max = 64;
    options.saved_bytes_max = saved_bytes_max;
    auto scheduler = Scheduler::create(model_, pool_, options);
    ASSERT_TRUE(scheduler) << scheduler.error().message;
    scheduler_ = std::move(*scheduler);
  }

  std::vector<int32_t> prompt() {
    std::string text = "Once upon a time";
    for (int i = 0; i < 24; ++i) text += ", there were " + std::to_string(i * 7) + " bridges";
    return model_->tokenize(text, {}).value();
  }
  static std::vector<int32_t> joined(std::vector<int32_t> a, const std::vector<int32_t>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }
  // Nothing of a sequence that ends is kept, so whatever is not computed again came by a fork.
  static SequenceOptions options() { return {.flow = 1, .tokens_max = 300}; }
  BlockingSequence open(const std::vector<int32_t>& tokens) {
    BlockingSequence sequence(*scheduler_, options());
    EXPECT_EQ(sequence->append(tokens), SequenceStatus::ok);
    return sequence;
  }
  BlockingSequence fork(const Sequence& of, uint32_t length, bool dormant = false) {
    SequenceOptions how = options();
    how.dormant = dormant;
    return BlockingSequence(*scheduler_, of, length, how);
  }
  uint64_t prefilled() const { return scheduler_->stats().prefill_tokens; }
  // What a sequence with these tokens says, computed from the first one on.
  std::vector<int32_t> fresh(const std::vector<int32_t>& tokens, size_t count) { return open(tokens).take(count); }

  void goes_on_like_a_fresh_sequence() {
    const auto tokens = prompt();
    auto parent = open(tokens);
    const auto said = parent.take(20);
    for (const uint32_t taken : {0u, 1u, 7u, 20u}) {
      const auto length = static_cast<uint32_t>(tokens.size()) + taken;
      const auto begun = joined(tokens, {said.begin(), said.begin() + taken});
      const uint64_t before = prefilled();
      auto child = fork(*parent, length);
      ASSERT_TRUE(child);
      EXPECT_EQ(child->length(), length);
      const auto answer = child.take(16);
      EXPECT_LE(prefilled() - before, few_tokens) << "the prompt was computed again";
      EXPECT_EQ(answer, fresh(begun, 16)) << "after " << taken << " tokens";
    }
    EXPECT_EQ(parent.take(8).size(), 8u) << "the parent goes on";
  }

  std::shared_ptr<ComputePool> pool_;
  std::shared_ptr<Model> model_;
  std::unique_ptr<Scheduler> scheduler_;
};

TEST_F(ForkTest, ForkGoesOnLikeAFreshSequence) {
  for (const char* model : {"REALM_TINY_MODEL", "REALM_MODEL"}) {
    load(model);
    goes_on_like_a_fresh_sequence();
  }
}

TEST_F(ForkTest, ForksAreIndependent) {
  const auto tokens = prompt();
  auto parent = open(tokens);
  const auto length = static_cast<uint32_t>(tokens.size());
  auto one = fork(*parent, length);
  auto two = fork(*parent, length - 10);
  const auto addition = model_->tokenize(" The end. Then", {}).value();
  ASSERT_EQ(one->append(addition), SequenceStatus::ok);
  const auto said_one = one.take(12);
  const auto said_two = two.take(12);
  const auto said = parent.take(12);
  EXPECT_EQ(said_one, fresh(joined(tokens, addition), 12));
  EXPECT_EQ(said_two, fresh({tokens.begin(), tokens.end() - 10}, 12));
  EXPECT_EQ(said, fresh(tokens, 12));
}

TEST_F(ForkTest, ForksOfAPromptThatNobodyHasComputedShareOnePrefill) {
  const auto tokens = prompt();
  auto parent = open(tokens);
  std::vector<BlockingSequence> children;
  for (int i = 0; i < 6; ++i) children.push_back(fork(*parent, static_cast<uint32_t>(tokens.size())));
  const uint64_t before = prefilled();
  std::vector<std::vector<int32_t>> answers(children.size());
  std::vector<std::thread> owners;
  for (size_t i = 0; i < children.size(); ++i) owners.emplace_back([&, i] { answers[i] = children[i].take(10); });
  for (auto& owner : owners) owner.join();
  EXPECT_LE(prefilled() - before, tokens.size() + few_tokens);
  const auto expected = fresh(tokens, 10);
  for (const auto& answer : answers) EXPECT_EQ(answer, expected);
}

TEST_F(ForkTest, ParentThatDropsItsTokensLeavesThemToItsForks) {
  const auto tokens = prompt();
  const auto length = static_cast<uint32_t>(tokens.size());
  for (const bool closes : {false, true}) {
    auto parent = open(tokens);
    parent.take(4);
    auto shorter = fork(*parent, length - 20);
    auto child = fork(*parent, length);
    auto grandchild = fork(*child, length - 5);
    if (closes) {
      parent.close();
    } else {
      ASSERT_EQ(parent->truncate(1), SequenceStatus::ok);
    }
    child.close();
    const uint64_t before = prefilled();
    const auto answer = grandchild.take(8);
    const auto answer_shorter = shorter.take(8);
    EXPECT_LE(prefilled() - before, few_tokens);
    EXPECT_EQ(answer, fresh({tokens.begin(), tokens.end() - 5}, 8));
    EXPECT_EQ(answer_shorter, fresh({tokens.begin(), tokens.end() - 20}, 8));
  }
}

TEST_F(ForkTest, ForkOfAParkedSequence) {
  const auto tokens = prompt();
  auto parent = open(tokens);
  parent.take(4);
  {
    // Eight others fill every slot, so the parent, which has nothing to do, is parked.
    std::vector<BlockingSequence> others;
    for (int i = 0; i < 8; ++i) others.push_back(open(model_->tokenize("Number " + std::to_string(i), {}).value()));
    std::vector<std::thread> owners;
    for (auto& other : others) owners.emplace_back([&other] { other.take(24); });
    for (auto& owner : owners) owner.join();
  }
  EXPECT_GT(scheduler_->stats().parks, 0u);
  const uint64_t before = prefilled();
  auto child = fork(*parent, static_cast<uint32_t>(tokens.size()));
  const auto answer = child.take(8);
  EXPECT_LE(prefilled() - before, few_tokens);
  EXPECT_EQ(answer, fresh(tokens, 8));
}

TEST_F(ForkTest, DormantForkServesOthersAfterItsParentHasGone) {
  const auto tokens = prompt();
  const auto length = static_cast<uint32_t>(tokens.size());
  auto parent = open(tokens);
  parent.take(4);
  auto saved = fork(*parent, length, true);
  parent.close();
  for (int round = 0; round < 3; ++round) {
    const uint64_t before = prefilled();
    auto child = fork(*saved, length);
    const auto answer = child.take(8);
    EXPECT_LE(prefilled() - before, few_tokens) << "round " << round;
    EXPECT_EQ(answer, fresh(tokens, 8));
  }
}

TEST_F(ForkTest, WithoutMemoryForSavedKvItIsComputedAgain) {
  start(0);
  const auto tokens = prompt();
  auto parent = open(tokens);
  parent.take(4);
  auto saved = fork(*parent, static_cast<uint32_t>(tokens.size()), true);
  parent.close();
  auto child = fork(*saved, static_cast<uint32_t>(tokens.size()));
  const uint64_t before = prefilled();
  const auto answer = child.take(8);
  EXPECT_GE(prefilled() - before, tokens.size() - 1);
  EXPECT_EQ(answer, fresh(tokens, 8));
}

TEST_F(ForkTest, DormantKvIsGivenUpBeforeAParkedSequenceLosesItsOwn) {
  const auto tokens = prompt();
  start(tokens.size() * scheduler_->stats().kv_bytes_per_token * 3 / 2 + (1u << 20));  // one saved state of this length, not two
  auto first = open(tokens);
  first.take(1);
  auto saved = fork(*first, static_cast<uint32_t>(tokens.size()), true);
  first.close();
  auto second = open(prompt());
  second.take(4);
  std::vector<BlockingSequence> others;
  for (int i = 0; i < 8; ++i) others.push_back(open(model_->tokenize("Number " + std::to_string(i), {}).value()));
  std::vector<std::thread> owners;
  for (auto& other : others) owners.emplace_back([&other] { other.take(24); });
  for (auto& owner : owners) owner.join();
  const uint64_t before = prefilled();
  second.take(20);
  EXPECT_LE(prefilled() - before, few_tokens);
  EXPECT_EQ(fork(*saved, static_cast<uint32_t>(tokens.size())).take(8), fresh(tokens, 8));
}

TEST_F(ForkTest, WhatCannotBeForkedIsRefused) {
  auto parent = open(prompt());
  EXPECT_FALSE(scheduler_->fork(*parent, parent->length() + 1, options()));
  EXPECT_FALSE(scheduler_->fork(*parent, 5, {.flow = 2, .tokens_max = 300})) << "another flow";
  EXPECT_FALSE(scheduler_->fork(*parent, 5, {.flow = 1, .tokens_max = 4}));
  EXPECT_FALSE(scheduler_->fork(*parent, 5, {.flow = 1, .tokens_max = 300, .embeds = true}));
  EXPECT_FALSE(scheduler_->fork(*parent, 5, {.flow = 1, .tokens_max = 5'000}));
  EXPECT_TRUE(scheduler_->fork(*parent, 0, options()));
  parent.close();
  for (int i = 0; i < 5'000 && scheduler_->stats().sequences_open > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(scheduler_->stats().sequences_open, 0u) << "refused forks leave nothing behind";
}

}  // namespace
}  // namespace realm::engine
