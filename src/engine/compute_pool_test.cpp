#include "engine/compute_pool.h"

#include <gtest/gtest.h>
#include <llama.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <set>
#include <thread>
#include <vector>

#include "base/background.h"
#include "engine/model.h"
#include "engine/physical_cores.h"

namespace realm::engine {
namespace {

TEST(ComputePool, RunsEveryTaskOnce) {
  for (const uint32_t threads : {1u, 2u, 3u}) {
    auto pool = ComputePool::create(threads);
    ASSERT_TRUE(pool) << pool.error().message;
    EXPECT_EQ((*pool)->threads(), threads);
    const auto turn = (*pool)->acquire();
    for (const uint32_t count : {0u, 1u, 2u, 16u, 1'000u}) {
      std::vector<std::atomic<int>> calls(count);
      (*pool)->run(count, [&](uint32_t i) { ++calls[i]; });
      EXPECT_TRUE(std::ranges::all_of(calls, [](const auto& c) { return c == 1; }));
    }
  }
}

TEST(ComputePool, WhatATaskWroteIsSeenByTheCallerAndTheNextRun) {
  auto pool = ComputePool::create(2).value();
  const auto turn = pool->acquire();
  std::vector<uint64_t> values(64, 0);
  for (uint64_t round = 1; round <= 200; ++round) {
    pool->run(64, [&](uint32_t i) { ++values[i]; });
    for (const uint64_t value : values) ASSERT_EQ(value, round);
  }
}

TEST(ComputePool, SpreadsTasksOverItsThreads) {
  auto pool = ComputePool::create(2).value();
  const auto turn = pool->acquire();
  std::mutex mutex;
  std::set<std::thread::id> seen;
  pool->run(16, [&](uint32_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::lock_guard lock(mutex);
    seen.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(seen.size(), 2u);
}

TEST(ComputePool, ThreadCountsOutOfRangeAreRefused) {
  EXPECT_EQ(ComputePool::create(513).error().code, ErrorCode::invalid_argument);
  auto by_default = ComputePool::create(0);
  ASSERT_TRUE(by_default);
  EXPECT_EQ((*by_default)->threads(), physical_cores());
  EXPECT_GE(physical_cores(), 1u);
  EXPECT_LE(physical_cores(), std::thread::hardware_concurrency());
}

TEST(ComputePool, WorkOfLowPriorityGetsAShareOfWhatABusyPoolComputes) {
  constexpr int64_t computed_ns = 5'000'000;
  auto pool = ComputePool::create(0).value();
  EXPECT_EQ(pool->give_way(computed_ns), 0) << "nobody wants anything";
  const BackgroundWork work;
  int64_t away_ns = 0;
  for (int step = 0; step < 20; ++step) away_ns += pool->give_way(computed_ns);
  EXPECT_GE(away_ns, 20 * computed_ns / 20);
  int64_t away_of_short_steps_ns = 0;
  for (int step = 0; step < 1'000; ++step) away_of_short_steps_ns += pool->give_way(computed_ns / 50);
  EXPECT_GE(away_of_short_steps_ns, 20 * computed_ns / 20);
  if (physical_cores() == 1) return;
  EXPECT_EQ(ComputePool::create(physical_cores() - 1).value()->give_way(computed_ns), 0) << "a core is left";
}

// -- two models' contexts on one pool

using Context = std::unique_ptr<llama_context, decltype(&llama_free)>;

Context make_context(const Model& model, const ComputePool& pool) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = 256;
  params.n_batch = 64;
  Context context(llama_init_from_model(model.native(), params), llama_free);
  if (context != nullptr) pool.attach(context.get());
  return context;
}

// Greedy tokens after `prompt`, one step at a time, each step under the pool's turn and its choice made on the pool's threads.
std::vector<int32_t> generate(const Model& model, ComputePool& pool, llama_context* context, const std::string& prompt, int steps) {
  std::vector<int32_t> batch = model.tokenize(prompt, {}).value();
  std::vector<int32_t> answer;
  for (int step = 0; step < steps; ++step) {
    const auto turn = pool.acquire();
    if (llama_decode(context, llama_batch_get_one(batch.data(), static_cast<int32_t>(batch.size()))) != 0) break;
    const float* row = llama_get_logits_ith(context, -1);
    std::vector<int32_t> choices(4);
    pool.run(4, [&](uint32_t i) { choices[i] = static_cast<int32_t>(std::max_element(row, row + model.info().vocabulary_tokens) - row); });
    EXPECT_EQ(std::ranges::count(choices, choices[0]), 4);
    batch = {choices[0]};
    answer.push_back(choices[0]);
  }
  return answer;
}

TEST(ComputePool, TwoContextsTakeTurnsAndComputeWhatEachDoesAlone) {
  const char* file = std::getenv("REALM_MODEL");
  ASSERT_NE(file, nullptr) << "set REALM_MODEL to the SmolLM2 GGUF file (tools/fetch_model.py prints its path)";
  const auto model = Model::load({.file = file, .backend = BackendChoice::cpu});
  ASSERT_TRUE(model) << model.error().message;
  auto pool = ComputePool::create(2).value();
  const std::vector<std::string> prompts{"The capital of France is", "Once upon a time"};
  constexpr int steps = 8;
  std::vector<std::vector<int32_t>> alone;
  for (const std::string& prompt : prompts) {
    const Context context = make_context(**model, *pool);
    ASSERT_NE(context, nullptr);
    alone.push_back(generate(**model, *pool, context.get(), prompt, steps));
    EXPECT_EQ(alone.back().size(), static_cast<size_t>(steps));
  }
  std::vector<std::vector<int32_t>> together(prompts.size());
  std::vector<std::thread> owners;
  for (size_t i = 0; i < prompts.size(); ++i) {
    owners.emplace_back([&, i] {
      const Context context = make_context(**model, *pool);
      together[i] = generate(**model, *pool, context.get(), prompts[i], steps);
    });
  }
  for (std::thread& owner : owners) owner.join();
  EXPECT_EQ(together, alone);
}

}  // namespace
}  // namespace realm::engine
