// Running ahead is invisible: random programs of calls say the same with it and without it. The two compute a token in batches of other
// shapes, so the last bits of its logits differ; where that decides between two tokens, the test proves it from the logits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <set>
#include <string>

#include "engine/blocking_sequence.h"
#include "engine/shared_sequence.h"

namespace realm::engine {
namespace {

constexpr uint32_t programs = 60;
// By how much a logit of the tiny model may differ between two shapes of a batch. Its logits are some 3 in size, and products are of
// numbers with 11 bits. BatchesOfOtherShapesDifferByNoMore checks it.
constexpr float logit_rounding_max = 0.02f;
constexpr int rounding_trials = 4'000;

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

// What a token was drawn from, but for the logits.
struct Draw {
  size_t said = 0;  // where the token stands in what was said
  std::vector<int32_t> history;
  SamplerParams sampler;
  std::vector<int32_t> banned;
  TokenMask mask;  // empty: none
};

// A program of calls that its seed and the tokens that it sees determine, on up to three sequences at once.
class RandomProgram {
 public:
  RandomProgram(Scheduler& scheduler, uint32_t seed) : scheduler_(scheduler), vocabulary_(scheduler.model()->info().vocabulary_tokens) {
    random_.seed(seed);
    sequences_.emplace_back(scheduler, SequenceOptions{.flow = 1, .tokens_max = 256});
    tokens_.emplace_back();
    limits_.emplace_back();
    append(0);
  }
  // Every token that it saw, in order, and the status of every call.
  std::vector<int32_t> run() {
    for (uint32_t i = 0; i < calls_of_a_program; ++i) call(below(static_cast<uint32_t>(sequences_.size())));
    for (size_t i = 0; i < sequences_.size(); ++i) next(i, 3);
    return said_;
  }
  const std::vector<std::string>& calls() const { return calls_; }
  // Of what stands there in what was said; null when that is no token.
  const Draw* draw_at(size_t said) const {
    const auto found = std::ranges::find(draws_, said, &Draw::said);
    return found == draws_.end() ? nullptr : &*found;
  }

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
    switch (below(14)) {
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
      case 7:
        return name += "guess", guess(i);
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
    forget_old_limits(i);
  }
  void next(size_t i, size_t count) {
    const auto taken = sequences_[i].take(count);
    const Limits& limits = limits_[i];
    for (size_t k = 0; k < taken.size(); ++k) {
      Draw draw{said_.size() + k, tokens_[i], limits.sampler, {}, {}};
      draw.history.insert(draw.history.end(), taken.begin(), taken.begin() + static_cast<ptrdiff_t>(k));
      if (limits.banned_position == draw.history.size()) draw.banned = limits.banned;
      if (limits.mask_position == draw.history.size()) draw.mask = limits.mask;
      draws_.push_back(std::move(draw));
    }
    tokens_[i].insert(tokens_[i].end(), taken.begin(), taken.end());
    said_.insert(said_.end(), taken.begin(), taken.end());
    said_.push_back(static_cast<int32_t>(sequences_[i]->length()));
    forget_old_limits(i);
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
    cut(i, position);
    Limits& limits = limits_[i];
    if (limits.banned_position != position) limits.banned.clear();
    limits.banned_position = position;
    limits.banned.insert(limits.banned.end(), banned.begin(), banned.end());
    note(sequences_[i]->reject(position, banned));
  }
  void mask(size_t i) {
    TokenMask allowed((vocabulary_ + 63) / 64);
    for (uint64_t& word : allowed) word = random_() & random_();
    const uint32_t position = place(i);
    note(sequences_[i]->mask(position, allowed));
    if (sequences_[i]->length() < tokens_[i].size()) cut(i, sequences_[i]->length());
    limits_[i].mask = std::move(allowed);
    limits_[i].mask_position = position;
    said_.push_back(static_cast<int32_t>(tokens_[i].size()));
  }
  void truncate(size_t i) {
    const auto length = static_cast<uint32_t>(tokens_[i].size());
    const uint32_t kept = length - below(std::min(length, 20u));  // never to nothing: an empty sequence has no next token
    note(sequences_[i]->truncate(kept));
    cut(i, kept);
  }
  void fork(size_t i) {
    if (sequences_.size() == sequences_max) {
      sequences_.erase(sequences_.begin());
      tokens_.erase(tokens_.begin());
      limits_.erase(limits_.begin());
      if (i > 0) --i;
    }
    const auto length = static_cast<uint32_t>(tokens_[i].size());
    const uint32_t kept = length - below(std::min(length, 6u));
    sequences_.emplace_back(scheduler_, *sequences_[i], kept, SequenceOptions{.flow = 1, .tokens_max = 256});
    tokens_.emplace_back(tokens_[i].begin(), tokens_[i].begin() + kept);
    limits_.push_back({.sampler = limits_[i].sampler});
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
    limits_[i].sampler = plan.sampler;
    note(sequences_[i]->set_plan(plan));
  }

  // Anything, or what was taken back last: that is often right.
  void guess(size_t i) {
    auto guessed = below(3) == 0 ? some_tokens(4) : taken_back_;
    guessed.resize(std::min<size_t>(guessed.size(), guesses_max));
    note(sequences_[i]->guess(guessed));
  }
  void cut(size_t i, uint32_t length) {
    if (length < tokens_[i].size()) taken_back_.assign(tokens_[i].begin() + length, tokens_[i].end());
    tokens_[i].resize(length);
    forget_old_limits(i);
  }
  void forget_old_limits(size_t i) {
    const auto is_old = [length = tokens_[i].size()](uint32_t position) { return position > length || position + 1 < length; };
    if (is_old(limits_[i].banned_position)) limits_[i].banned.clear();
    if (is_old(limits_[i].mask_position)) limits_[i].mask_position = 0;
  }

  // As the owner stated them; nothing is drawn at 0.
  struct Limits {
    SamplerParams sampler = {};
    std::vector<int32_t> banned = {};
    uint32_t banned_position = 0;
    TokenMask mask = {};
    uint32_t mask_position = 0;
  };

  Scheduler& scheduler_;
  uint32_t vocabulary_;
  std::mt19937_64 random_;
  std::vector<BlockingSequence> sequences_;
  std::vector<std::vector<int32_t>> tokens_;  // of each, as its owner knows them
  std::vector<Limits> limits_;
  std::vector<int32_t> taken_back_;
  std::vector<int32_t> said_;
  std::vector<Draw> draws_;
  std::vector<std::string> calls_;
};

// The logits of what follows the history, computed anew.
std::vector<float> logits_after(Scheduler& scheduler, std::span<const int32_t> history, size_t slice) {
  BlockingSequence sequence(scheduler, SequenceOptions{.flow = 1, .tokens_max = 256});
  DecodePlan plan;
  plan.keep_rows = true;
  EXPECT_EQ(sequence->set_plan(plan), SequenceStatus::ok);
  for (size_t at = 0; at < history.size(); at += slice) {
    EXPECT_EQ(sequence->append(history.subspan(at, std::min(slice, history.size() - at))), SequenceStatus::ok);
    EXPECT_EQ(sequence.take(1).size(), 1u);
    if (at + slice < history.size()) {
      EXPECT_EQ(sequence->truncate(static_cast<uint32_t>(at + slice)), SequenceStatus::ok);
    }
  }
  std::vector<float> row(scheduler.model()->info().vocabulary_tokens);
  EXPECT_EQ(sequence->logits(static_cast<uint32_t>(history.size()), row), row.size());
  return row;
}

// Do logits that differ from the true ones by no more than rounding lead to both tokens?
bool rounding_decides(const std::vector<float>& logits, const Draw& draw, int32_t one, int32_t other) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> rounding(-logit_rounding_max, logit_rounding_max);
  SamplerScratch scratch;
  std::set<int32_t> drawn;
  for (int i = 0; i < rounding_trials && !(drawn.contains(one) && drawn.contains(other)); ++i) {
    std::vector<float> rounded = logits;
    for (float& logit : rounded) logit += rounding(random);
    drawn.insert(draw.mask.empty() ? sample(rounded, draw.history, draw.banned, draw.sampler, scratch)
                                   : sample_allowed(rounded, draw.history, draw.banned, draw.mask, draw.sampler, scratch));
  }
  return drawn.contains(one) && drawn.contains(other);
}

std::string first_difference(const std::vector<int32_t>& a, const std::vector<int32_t>& b, const std::vector<std::string>& calls) {
  const auto [at, other] = std::ranges::mismatch(a, b);
  std::string text = "the answers differ from " + std::to_string(at - a.begin()) + " on; the calls:";
  for (const std::string& call : calls) text += "\n" + call;
  return text;
}

TEST_F(RunAheadTest, RandomProgramsSayTheSameWithoutIt) {
  size_t tokens = 0;
  for (uint32_t seed = 1; seed <= programs; ++seed) {
    RandomProgram program(*ahead_, seed);
    const auto ahead = program.run();
    const auto stepwise = RandomProgram(*stepwise_, seed).run();
    tokens += ahead.size();
    if (ahead == stepwise) continue;
    const auto what = "seed " + std::to_string(seed) + ": " + first_difference(ahead, stepwise, program.calls());
    const auto [at, other] = std::ranges::mismatch(ahead, stepwise);
    ASSERT_TRUE(at != ahead.end() && other != stepwise.end()) << what;
    const Draw* draw = program.draw_at(static_cast<size_t>(at - ahead.begin()));
    ASSERT_NE(draw, nullptr) << "it is no token that differs; " << what;
    const auto logits = logits_after(*stepwise_, draw->history, draw->history.size());
    EXPECT_TRUE(rounding_decides(logits, *draw, *at, *other)) << *at << " or " << *other << " is no matter of rounding; " << what;
  }
  EXPECT_GT(tokens, programs * calls_of_a_program);
  EXPECT_GT(ahead_->stats().discarded_tokens, stepwise_->stats().discarded_tokens) << "one runs ahead, the other does not";
  EXPECT_GT(ahead_->stats().forked_tokens, 0u);
  EXPECT_GT(ahead_->stats().guessed_right_tokens, 0u);
  EXPECT_EQ(stepwise_->stats().guessed_tokens, 0u);
}

TEST_F(RunAheadTest, BatchesOfOtherShapesDifferByNoMore) {
  std::mt19937 random(7);
  float most = 0;
  for (int i = 0; i < 12; ++i) {
    std::vector<int32_t> history(40 + random() % 100);
    for (int32_t& token : history) token = static_cast<int32_t>(random() % model_->info().vocabulary_tokens);
    const auto whole = logits_after(*ahead_, history, history.size());
    for (const size_t slice : {1, 3, 16}) {
      const auto sliced = logits_after(*ahead_, history, slice);
      for (size_t k = 0; k < whole.size(); ++k) most = std::max(most, std::abs(whole[k] - sliced[k]));
    }
  }
  EXPECT_LT(most, logit_rounding_max);
  RecordProperty("largest_difference", std::to_string(most));
}

TEST_F(RunAheadTest, AClearWinnerIsNoMatterOfRounding) {
  const auto history = std::vector<int32_t>{5, 6, 7, 8};
  const auto logits = logits_after(*stepwise_, history, 4);
  const Draw greedy{0, history, {}, {}, {}};
  const auto best = static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
  std::vector<float> rest = logits;
  rest[static_cast<size_t>(best)] -= 2 * logit_rounding_max;
  const auto second = static_cast<int32_t>(std::ranges::max_element(rest) - rest.begin());
  EXPECT_FALSE(rounding_decides(logits, greedy, best, best == 0 ? 1 : 0));
  std::vector<float> tie = logits;
  tie[static_cast<size_t>(second == best ? best + 1 : second)] = logits[static_cast<size_t>(best)] - logit_rounding_max / 2;
  EXPECT_TRUE(rounding_decides(tie, greedy, best, second == best ? best + 1 : second));
}

}  // namespace
}  // namespace realm::engine
