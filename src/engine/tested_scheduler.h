// What tests of the scheduler share: the small real model, loaded once a suite.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <utility>

#include "engine/scheduler.h"

namespace realm::engine {

// ggml's threads meet without what ThreadSanitizer understands, and each report that is suppressed costs a millisecond.
#ifdef __SANITIZE_THREAD__
constexpr uint32_t compute_threads = 1;
#else
constexpr uint32_t compute_threads = 2;
#endif

class LoadedModel : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* file = std::getenv("REALM_MODEL");
    ASSERT_NE(file, nullptr) << "set REALM_MODEL to the SmolLM2 GGUF file (tools/fetch_model.py prints its path)";
    auto pool = ComputePool::create(compute_threads);
    ASSERT_TRUE(pool) << pool.error().message;
    pool_ = *pool;
    auto model = Model::load({.file = file, .backend = BackendChoice::cpu});
    ASSERT_TRUE(model) << model.error().message;
    model_ = *model;
  }
  static void TearDownTestSuite() {
    model_.reset();
    pool_.reset();
  }

  static inline std::shared_ptr<ComputePool> pool_;
  static inline std::shared_ptr<Model> model_;
};

// With a scheduler of four sequences, new for each test.
class SmallScheduler : public LoadedModel {
 protected:
  void SetUp() override {
    SchedulerOptions options;
    options.sequences_max = 4;
    options.context_tokens_max = 512;
    options.prefill_tokens_max = 64;
    auto scheduler = Scheduler::create(model_, pool_, options);
    ASSERT_TRUE(scheduler) << scheduler.error().message;
    scheduler_ = std::move(*scheduler);
  }

  std::unique_ptr<Scheduler> scheduler_;
};

}  // namespace realm::engine
