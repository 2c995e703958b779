// Running ahead is invisible: random programs of calls say the same with it and without it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <string>

#include "engine/blocking_sequence.h"
#include "engine/shared_sequence.h"

namespace realm::engine {
namespace {

constexpr uint32_t programs = 60;
// The two compute a token in batches of other shapes, so the last bits of its logits differ, and now and then the likeliest two
// tokens are that close. A mistake in the bookkeeping shows in most programs.
constexpr uint32_t programs_with_a_tie_max = 5;

constexpr uint32_t calls_of_a_program = 40;
constexpr size_t sequences_max = 3;

class RunAheadTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* file = std::getenv("REALM_TINY_MODEL");
    ASSERT_NE(file, nullptr) << "set REALM_TINY_MODEL (`make test` does)";
    auto pool = ComputePool::create(1);
    ASSERT_TRUE(pool) << pool.error().message;
    auto model = Model::load({.file = file, .backend = BackendChoice::cpu});
    ASSERT_TRUE(model) << model.error().message;
    model_ = *model;
    ahead_ = start(*pool, true);
    stepwise_ = start(*pool, false);
  }
  static void TearDownTestSuite() {
    ahead_.reset();
    stepwise_.reset();
    model_.reset();
  }
  static std::unique_ptr<Scheduler> start(const std::shared_ptr<ComputePool>& pool, bool run_ahead) {
    SchedulerOptions options;
    options.sequences_max = 4;
    options.context_tokens_max = 256;
    options.prefill_tokens_max = 64;
    options.run_ahead = run_ahead;
    auto scheduler = Scheduler::create(model_, pool, options);
    EXPECT_TRUE(scheduler) << scheduler.error().message;
    return std::move(*scheduler);
  }

  static inline std::shared_ptr<Model> model_;
  static inline std::unique_ptr<Scheduler> ahead_, stepwise_;
};

// A program of calls that its seed and the tokens that it sees determine, on up to three sequences at once.
class RandomProgram {
 public:
  RandomProgram(Scheduler& scheduler, uint32_t seed) : scheduler_(scheduler), vocabulary_(scheduler.model()->info().vocabulary_tokens) {
    random_.seed(seed);
    sequences_.emplace_back(scheduler, SequenceOptions{.flow = 1, .tokens_max = 256});
    tokens_.emplace_back();
    append(0);
  }
  // Every token that it saw, in order, and the status of every call.
  std::vector<int32_t> run() {
    for (uint32_t i = 0; i < calls_of_a_program; ++i) call(below(static_cast<uint32_t>(sequences_.size())));
    for (size_t i = 0; i < sequences_.size(); ++i) next(i, 3);
    return said_;
  }
  const std::vector<std::string>& calls() const { return calls_; }

 private:
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  int32_t token() { return static_cast<int32_t>(below(vocabulary_)); }
  std::vector<int32_t> some_tokens(uint32_t most) {
    std::vector<int32_t> some(1 + below(most));
    for (int32_t& one : some) one = token();
    return some;
  }
  void note(SequenceStatus status) { said_.push_back(-1 - static_cast<int32_t>(status)); }

  // For whoever has to find out what went wrong: how much was said before the call, and the call.
  void call(size_t i) {
    calls_.push_back(std::to_string(said_.size()) + ": sequence " + std::to_string(i) + " of " + std::to_string(tokens_[i].size()) + ": ");
    std::string& name = calls_.back();
    switch (below(12)) {
      case 0:
        return name += "append", append(i);
      case 1:
        return name += "push", push(i);
      case 2:
        return name += "reject", reject(i);
      case 3:
        return name += "mask", mask(i);
      case 4:
        return name += "truncate", truncate(i);
      case 5:
        return name += "fork", fork(i);
      case 6:
        return name += "sampler", change_sampler(i);
      default:
        return name += "next", next(i, 1 + below(6));
    }
  }
  void append(size_t i) { add(i, some_tokens(8), false); }
  void push(size_t i) { add(i, some_tokens(3), true); }
  void add(size_t i, const std::vector<int32_t>& some, bool pushed) {
    const auto status = pushed ? sequences_[i]->push(some) : sequences_[i]->append(some);
    note(status);
    if (status == SequenceStatus::ok) tokens_[i].insert(tokens_[i].end(), some.begin(), some.end());
  }
  void next(size_t i, size_t count) {
    const auto taken = sequences_[i].take(count);
    tokens_[i].insert(tokens_[i].end(), taken.begin(), taken.end());
    said_.insert(said_.end(), taken.begin(), taken.end());
    said_.push_back(static_cast<int32_t>(sequences_[i]->length()));
  }
  // One of the last places, the next one included.
  uint32_t place(size_t i) {
    const auto length = static_cast<uint32_t>(tokens_[i].size());
    return length - below(std::min(length, 5u));
  }
  void reject(size_t i) {
    const uint32_t position = place(i);
    auto banned = some_tokens(4);
    if (position < tokens_[i].size()) banned.push_back(tokens_[i][position]);
    note(sequences_[i]->reject(position, banned));
    tokens_[i].resize(sequences_[i]->length());
  }
  void mask(size_t i) {
    TokenMask allowed((vocabulary_ + 63) / 64);
    for (uint64_t& word : allowed) word = random_() & random_();
    note(sequences_[i]->mask(place(i), allowed));
    tokens_[i].resize(sequences_[i]->length());
    said_.push_back(static_cast<int32_t>(tokens_[i].size()));
  }
  void truncate(size_t i) {
    const auto length = static_cast<uint32_t>(tokens_[i].size());
    const uint32_t kept = length - below(std::min(length, 20u));  // never to nothing: an empty sequence has no next token
    note(sequences_[i]->truncate(kept));
    tokens_[i].resize(kept);
  }
  void fork(size_t i) {
    if (sequences_.size() == sequences_max) {
      sequences_.erase(sequences_.begin());
      tokens_.erase(tokens_.begin());
      if (i > 0) --i;
    }
    const auto length = static_cast<uint32_t>(tokens_[i].size());
    const uint32_t kept = length - below(std::min(length, 6u));
    sequences_.emplace_back(scheduler_, *sequences_[i], kept, SequenceOptions{.flow = 1, .tokens_max = 256});
    tokens_.emplace_back(tokens_[i].begin(), tokens_[i].begin() + kept);
    said_.push_back(static_cast<int32_t>(sequences_.back()->length()));
  }
  void change_sampler(size_t i) {
    DecodePlan plan;
    plan.sampler.temperature = static_cast<float>(below(3)) * 0.5f;
    // The batches differ, and with them the last bits of the logits: among few candidates that does not decide a draw.
    plan.sampler.top_k = 2 + static_cast<int32_t>(below(20));
    plan.sampler.top_p = below(2) == 0 ? 1 : 0.9f;
    plan.sampler.repetition_penalty = below(2) == 0 ? 1 : 1.3f;
    plan.sampler.seed = below(1'000);
    plan.keep_rows = below(3) == 0;
    note(sequences_[i]->set_plan(plan));
  }

  Scheduler& scheduler_;
  uint32_t vocabulary_;
  std::mt19937_64 random_;
  std::vector<BlockingSequence> sequences_;
  std::vector<std::vector<int32_t>> tokens_;  // of each, as its owner knows them
  std::vector<int32_t> said_;
  std::vector<std::string> calls_;
};

std::string first_difference(const std::vector<int32_t>& a, const std::vector<int32_t>& b, const std::vector<std::string>& calls) {
  const auto [at, other] = std::ranges::mismatch(a, b);
  std::string text = "the answers differ from " + std::to_string(at - a.begin()) + " on; the calls:";
  for (const std::string& call : calls) text += "\n" + call;
  return text;
}

TEST_F(RunAheadTest, RandomProgramsSayTheSameWithoutIt) {
  size_t tokens = 0;
  uint32_t differ = 0;
  std::string difference;
  for (uint32_t seed = 1; seed <= programs; ++seed) {
    RandomProgram program(*ahead_, seed);
    const auto ahead = program.run();
    const auto stepwise = RandomProgram(*stepwise_, seed).run();
    if (ahead != stepwise) {
      ++differ;
      difference = "seed " + std::to_string(seed) + ": " + first_difference(ahead, stepwise, program.calls());
    }
    tokens += ahead.size();
  }
  EXPECT_LE(differ, programs_with_a_tie_max) << difference;
  EXPECT_GT(tokens, programs * calls_of_a_program);
  EXPECT_GT(ahead_->stats().discarded_tokens, stepwise_->stats().discarded_tokens) << "one runs ahead, the other does not";
  EXPECT_GT(ahead_->stats().forked_tokens, 0u);
}

}  // namespace
}  // namespace realm::engine
