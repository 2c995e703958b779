#include "engine/kv_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "engine/blocking_sequence.h"
#include "engine/kv_context.h"

namespace realm::engine {
namespace {

constexpr uint32_t streams = 8;
constexpr uint32_t stream_tokens = 1'024;
constexpr uint32_t attention_block_tokens = 256;  // llama.cpp reads the cells of a stream in blocks of so many

class KvMemoryTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* file = std::getenv("REALM_MODEL");
    ASSERT_NE(file, nullptr) << "set REALM_MODEL to the SmolLM2 GGUF file (tools/fetch_model.py prints its path)";
    pool_ = ComputePool::create(1).value();
    model_ = Model::load({.file = file, .backend = BackendChoice::cpu}).value();
  }
  static void TearDownTestSuite() {
    model_.reset();
    pool_.reset();
  }

  // The mapping that holds the KV of all streams, known by its size.
  static LazyMapping kv_mapping(uint64_t bytes_per_token) {
    const uint64_t bytes = bytes_per_token * streams * stream_tokens;
    const auto mappings = lazy_mappings();
    const auto found = std::find_if(mappings.begin(), mappings.end(), [bytes](const LazyMapping& mapping) {
      return mapping.bytes >= bytes && mapping.bytes < bytes + bytes / 100;
    });
    EXPECT_NE(found, mappings.end()) << "no mapping of " << bytes << " bytes: is KV still allocated through ggml_aligned_malloc?";
    return found == mappings.end() ? LazyMapping{} : *found;
  }
  static std::vector<int32_t> tokens(uint32_t count) { return std::vector<int32_t>(count, model_->tokenize(" sea", {}).value().front()); }

  static inline std::shared_ptr<ComputePool> pool_;
  static inline std::shared_ptr<Model> model_;
};

TEST_F(KvMemoryTest, PagesAreResidentAsTokensFillThemAndGoWithTheirStream) {
  auto made = KvContext::create(model_, *pool_, {.streams = streams, .stream_tokens_max = stream_tokens});
  ASSERT_TRUE(made) << made.error().message;
  KvContext& kv = **made;
  const uint64_t token_bytes = kv.bytes_per_token();
  const auto resident = [token_bytes] { return kv_mapping(token_bytes).resident_bytes; };
  const auto decode = [&kv](uint32_t stream, uint32_t position, uint32_t count) {
    const auto turn = pool_->acquire();
    kv.begin_batch();
    kv.add(stream, position, tokens(count), true);
    ASSERT_TRUE(kv.decode());
  };
  ASSERT_GT(token_bytes, 0u);
  EXPECT_EQ(resident(), 0u) << "a context alone costs no KV";

  decode(0, 0, 100);
  const size_t of_100 = resident();
  EXPECT_GE(of_100, 100 * token_bytes);
  EXPECT_LE(of_100, (attention_block_tokens + 64) * token_bytes) << "more than the block that is read was touched";
  decode(0, 100, 500);
  const size_t of_600 = resident();
  EXPECT_GE(of_600, 600 * token_bytes);
  EXPECT_LE(of_600, (3 * attention_block_tokens + 64) * token_bytes);

  decode(1, 0, 100);
  EXPECT_EQ(resident(), of_600 + of_100);
  kv.clear(0);
  kv.release_pages(0);
  EXPECT_EQ(resident(), of_100) << "of the other stream, and of nothing else";
  decode(1, 100, 1);
  decode(0, 0, 100);
  EXPECT_EQ(resident(), 2 * of_100);
  kv.clear(1);
  kv.release_pages(1);
  kv.clear(0);
  kv.release_pages(0);
  EXPECT_EQ(resident(), 0u);
}

// The answer to the same prompt with each type, and the bytes of a token.
TEST_F(KvMemoryTest, Q8TakesAboutHalfOfTheBytesAndAnswersAlike) {
  std::vector<int32_t> answers[2];
  uint64_t token_bytes[2] = {};
  const std::vector<int32_t> prompt = model_->tokenize("The capital of France is the city of", {}).value();
  for (const KvType type : {KvType::f16, KvType::q8_0}) {
    SchedulerOptions options;
    options.sequences_max = streams;
    options.context_tokens_max = stream_tokens;
    options.kv_type = type;
    auto scheduler = Scheduler::create(model_, pool_, options);
    ASSERT_TRUE(scheduler) << scheduler.error().message;
    token_bytes[static_cast<int>(type)] = (*scheduler)->stats().kv_bytes_per_token;
    BlockingSequence sequence(**scheduler, {.flow = 1, .tokens_max = 64});
    EXPECT_EQ(sequence->set_plan({}), SequenceStatus::ok);
    EXPECT_EQ(sequence->append(prompt), SequenceStatus::ok);
    answers[static_cast<int>(type)] = sequence.take(4);
  }
  EXPECT_EQ(token_bytes[1] * 32, token_bytes[0] * 17);
  EXPECT_EQ(answers[0], answers[1]);
}

TEST_F(KvMemoryTest, PagesOfAnEndedSequenceAreGivenBack) {
  SchedulerOptions options;
  options.sequences_max = streams;
  options.context_tokens_max = stream_tokens;
  auto scheduler = Scheduler::create(model_, pool_, options);
  ASSERT_TRUE(scheduler) << scheduler.error().message;
  const uint64_t token_bytes = (*scheduler)->stats().kv_bytes_per_token;
  EXPECT_EQ(kv_mapping(token_bytes).resident_bytes, 0u);
  {
    BlockingSequence sequence(**scheduler, {.flow = 1, .tokens_max = stream_tokens});
    ASSERT_TRUE(sequence);
    EXPECT_EQ(sequence->set_plan({}), SequenceStatus::ok);
    EXPECT_EQ(sequence->append(tokens(600)), SequenceStatus::ok);
    ASSERT_EQ(sequence.take(1).size(), 1u);
    EXPECT_GE(kv_mapping(token_bytes).resident_bytes, 600 * token_bytes);
  }
  // A stream that was left keeps its pages for two seconds, for whoever comes next.
  for (int i = 0; i < 6'000 && kv_mapping(token_bytes).resident_bytes > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(kv_mapping(token_bytes).resident_bytes, 0u);
}

TEST_F(KvMemoryTest, HugePagesAreKeptOut) {
  if (!std::filesystem::exists("/sys/kernel/mm/transparent_hugepage")) GTEST_SKIP() << "this kernel has none";
  auto made = KvContext::create(model_, *pool_, {.streams = streams, .stream_tokens_max = stream_tokens});
  ASSERT_TRUE(made) << made.error().message;
  const LazyMapping kv = kv_mapping((*made)->bytes_per_token());
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  std::string flags;
  for (std::string line; std::getline(maps, line) && flags.empty();) {
    unsigned long long begin = 0, end = 0;
    const auto base = reinterpret_cast<uintptr_t>(kv.base);
    if (std::sscanf(line.c_str(), "%llx-%llx ", &begin, &end) == 2) inside = begin <= base && base < end;
    if (inside && line.starts_with("VmFlags:")) flags = line + " ";
  }
  EXPECT_NE(flags.find(" nh "), std::string::npos) << flags;
}

}  // namespace
}  // namespace realm::engine
