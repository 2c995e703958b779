#include "runtime/program_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <future>
#include <thread>

#include "runtime/generation.h"
#include "sandbox/compile_child.h"
#include "sandbox/module_text.h"

namespace realm::runtime {
namespace {

// This program is its own compiler: started as the child, it is nothing else.
const bool is_child = [] {
  std::ifstream in("/proc/self/cmdline");
  std::string name, argument, descriptor;
  std::getline(in, name, '\0');
  std::getline(in, argument, '\0');
  std::getline(in, descriptor, '\0');
  if (argument == sandbox::compilation_argument) _exit(sandbox::run_compilation_child(std::stoi(descriptor)));
  return false;
}();

using Opened = Result<std::shared_ptr<const sandbox::Program>>;

class ProgramCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto wasm = sandbox::compile(
        "(module (memory (export \"memory\") 1) (func (export \"realm_abi_v1\")) (func (export \"handle\") (result i32) i32.const 0))");
    module_.assign(wasm.begin(), wasm.end());
    auto made = sandbox::Sandbox::create({.instances_max = 2, .workers = 1}, program_abi_functions());
    ASSERT_TRUE(made) << made.error().message;
    sandbox_ = std::move(*made);
  }
  void start(const ProgramCacheOptions& options = {}) { cache_ = std::make_unique<ProgramCache>(*sandbox_, options); }
  std::future<Opened> open(const std::string& realm, const std::string& sha256, std::function<Result<std::string>()> read) {
    auto promise = std::make_shared<std::promise<Opened>>();
    cache_->open({realm, sha256, std::move(read)}, [promise](Opened opened) { promise->set_value(std::move(opened)); });
    return promise->get_future();
  }
  // Counts how often the module is read.
  std::future<Opened> open(const std::string& realm, const std::string& sha256) {
    return open(realm, sha256, [this]() -> Result<std::string> {
      ++reads_;
      return module_;
    });
  }
  // Says when it is being read, and goes on when it may.
  struct Gate {
    std::promise<void> reached;
    std::promise<void> opened;
    std::shared_future<void> open = opened.get_future().share();
  };
  std::future<Opened> open(const std::string& realm, const std::string& sha256, Gate& gate) {
    return open(realm, sha256, [this, &gate]() -> Result<std::string> {
      gate.reached.set_value();
      gate.open.wait();
      return module_;
    });
  }

  std::string module_;
  std::atomic<int> reads_{0};
  std::unique_ptr<sandbox::Sandbox> sandbox_;
  std::unique_ptr<ProgramCache> cache_;
};

TEST_F(ProgramCacheTest, OneCompilationForAllWhoWait) {
  start();
  Gate gate;
  auto first = open("acme", "a", gate);
  gate.reached.get_future().wait();
  auto second = open("acme", "a");
  auto third = open("acme", "a");
  gate.opened.set_value();
  const Opened program = first.get();
  ASSERT_TRUE(program) << program.error().message;
  EXPECT_EQ(second.get().value(), *program);
  EXPECT_EQ(third.get().value(), *program);
  EXPECT_EQ(open("acme", "a").get().value(), *program);
  EXPECT_EQ(reads_, 0);
  EXPECT_EQ(cache_->stats().loads, 1u);
  EXPECT_EQ(cache_->stats().hits, 1u);
}

TEST_F(ProgramCacheTest, ARealmThatCompilesManyHoldsNobodyUp) {
  start({.compiles_max = 2});
  Gate gate;
  auto slow = open("busy", "a", gate);
  gate.reached.get_future().wait();
  auto next = open("busy", "b");
  EXPECT_TRUE(open("acme", "a").get());
  EXPECT_EQ(reads_, 1) << "the busy realm's next one waits for its first";
  gate.opened.set_value();
  EXPECT_TRUE(slow.get());
  EXPECT_TRUE(next.get());
}

TEST_F(ProgramCacheTest, WhatWaitsHasABound) {
  start({.compiles_max = 1, .waiting_of_realm_max = 2});
  Gate gate;
  auto first = open("busy", "a", gate);
  gate.reached.get_future().wait();
  auto second = open("busy", "b");
  EXPECT_EQ(open("busy", "c").get().error().code, ErrorCode::resource_exhausted);
  auto other = open("acme", "a");
  gate.opened.set_value();
  EXPECT_TRUE(first.get());
  EXPECT_TRUE(second.get());
  EXPECT_TRUE(other.get());
}

TEST_F(ProgramCacheTest, TheLeastRecentlyUsedGoes) {
  start({.programs_max = 2});
  for (const char* sha256 : {"a", "b", "a", "c"}) ASSERT_TRUE(open("acme", sha256).get());
  EXPECT_EQ(reads_, 3);
  EXPECT_TRUE(open("acme", "a").get());
  EXPECT_EQ(reads_, 3);
  EXPECT_TRUE(open("acme", "b").get());
  EXPECT_EQ(reads_, 4);
  EXPECT_EQ(cache_->stats().programs_ready, 2u);
  EXPECT_EQ(cache_->stats().evictions, 2u);
}

TEST_F(ProgramCacheTest, NativeCodeHasABound) {
  start({.code_bytes_max = 1});
  const auto held = open("acme", "a").get();
  ASSERT_TRUE(held);
  ASSERT_TRUE(open("acme", "b").get());
  EXPECT_EQ(cache_->stats().programs_ready, 1u);
  EXPECT_TRUE((*held)->exports("handle")) << "who has it keeps it";
}

TEST_F(ProgramCacheTest, RefusalsAreRememberedFailuresAreNot) {
  start();
  const auto nonsense = [this]() -> Result<std::string> {
    ++reads_;
    return "nonsense";
  };
  for (int i = 0; i < 2; ++i) EXPECT_EQ(open("acme", "a", nonsense).get().error().code, ErrorCode::corrupt);
  EXPECT_EQ(reads_, 1);
  const auto broken = [this]() -> Result<std::string> {
    ++reads_;
    return fail(ErrorCode::io, "the disk is gone");
  };
  for (int i = 0; i < 2; ++i) EXPECT_EQ(open("acme", "b", broken).get().error().code, ErrorCode::io);
  EXPECT_EQ(reads_, 3);
  EXPECT_EQ(cache_->stats().refusals, 1u);
  EXPECT_EQ(cache_->stats().failures, 2u);
}

TEST_F(ProgramCacheTest, ARealmsProgramsAreItsOwnAndGoWithIt) {
  start();
  const auto mine = open("acme", "a").get();
  const auto theirs = open("other", "a").get();
  ASSERT_TRUE(mine && theirs);
  EXPECT_NE(*mine, *theirs);
  EXPECT_EQ(reads_, 2) << "the same module, and nothing shared";
  cache_->forget("acme");
  EXPECT_TRUE(open("other", "a").get());
  EXPECT_EQ(reads_, 2);
  EXPECT_TRUE(open("acme", "a").get());
  EXPECT_EQ(reads_, 3);
}

TEST_F(ProgramCacheTest, WhoWaitsAtTheEndIsTold) {
  start({.compiles_max = 1});
  Gate gate;
  auto running = open("acme", "a", gate);
  gate.reached.get_future().wait();
  auto waiting = open("other", "a");
  std::thread end([this] { cache_.reset(); });
  EXPECT_EQ(waiting.get().error().code, ErrorCode::unavailable);
  gate.opened.set_value();
  end.join();
  EXPECT_TRUE(running.get());
}

}  // namespace
}  // namespace realm::runtime
