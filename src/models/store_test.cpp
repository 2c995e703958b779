#include "models/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <fstream>
#include <future>
#include <thread>

#include "models/validate_child.h"

namespace realm::models {
namespace {

namespace fs = std::filesystem;

// This program is its own checker: started as the child, it is nothing else.
const bool is_child = [] {
  std::ifstream in("/proc/self/cmdline");
  std::string name, argument, descriptor;
  std::getline(in, name, '\0');
  std::getline(in, argument, '\0');
  std::getline(in, descriptor, '\0');
  if (argument == validation_argument) _exit(run_validation_child(std::stoi(descriptor)));
  return false;
}();

// A GGUF file with no tensors and a vocabulary of none, of `bytes` bytes.
void write_model(const fs::path& file, size_t bytes) {
  std::string out;
  const auto number = [&out](auto value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); };
  number(uint32_t{0x46554747});
  number(uint32_t{3});
  number(uint64_t{0});
  number(uint64_t{1});
  number(uint64_t{20});
  out += "general.architecture";
  number(uint32_t{8});
  number(uint64_t{5});
  out += "llama";
  out.resize(std::max(bytes, out.size()));
  std::ofstream(file, std::ios::binary) << out;
}

class FakeLoader : public ModelLoader {
 public:
  uint64_t estimate_bytes(const ModelRecord& record) override { return record.summary.bytes; }
  Result<Loaded> load(const ModelRecord& record, const std::atomic<bool>&) override {
    ++loads;
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [this] { return !held; });
    }
    if (record.name == "bad") return fail(ErrorCode::corrupt, "it is bad");
    return Loaded{std::make_shared<std::string>(record.name), record.summary.bytes};
  }
  void hold(bool on) {
    std::lock_guard lock(mutex);
    held = on;
    changed.notify_all();
  }
  std::atomic<int> loads{0};
  std::mutex mutex;
  std::condition_variable changed;
  bool held = false;
};

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/realm-models-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root = name;
    fs::create_directory(root / "published");
    for (const char* model : {"a", "b", "c", "bad"}) write_model(root / "published" / (std::string(model) + ".gguf"), 1'000);
    write_model(root / "published" / "large.gguf", 5'000);
    start();
  }
  void TearDown() override {
    store.reset();
    fs::remove_all(root);
  }
  void start(uint32_t deadline_ms = 5'000) {
    store.reset();
    auto opened = Catalogue::open({.folder = root / "own", .folders = {root / "published"}, .files = {}, .checker = "/proc/self/exe"});
    ASSERT_TRUE(opened) << opened.error().message;
    catalogue = std::move(*opened);
    store = std::make_unique<ModelStore>(*catalogue, loader, StoreOptions{.budget_bytes = 2'500, .lease_deadline_ms = deadline_ms});
  }
  std::future<Result<ModelStore::Lease>> ask(const std::string& name, const std::string& tenant = "t") {
    auto promise = std::make_shared<std::promise<Result<ModelStore::Lease>>>();
    store->lease(name, tenant, [promise](Result<ModelStore::Lease> lease) { promise->set_value(std::move(lease)); });
    return promise->get_future();
  }
  Result<ModelStore::Lease> lease(const std::string& name, const std::string& tenant = "t") { return ask(name, tenant).get(); }
  ModelState state(const std::string& name) { return store->state(*catalogue->find(name, "t")); }

  fs::path root;
  FakeLoader loader;
  std::unique_ptr<Catalogue> catalogue;
  std::unique_ptr<ModelStore> store;
};

TEST_F(StoreTest, AHundredFirstRequestsLoadOnce) {
  loader.hold(true);
  std::vector<std::future<Result<ModelStore::Lease>>> asked;
  for (int i = 0; i < 100; ++i) asked.push_back(ask("a"));
  for (int i = 0; loader.loads == 0 && i < 10'000; ++i) usleep(1'000);
  EXPECT_EQ(state("a").kind, ModelState::loading);
  loader.hold(false);
  std::vector<ModelStore::Lease> leases;
  for (auto& one : asked) {
    auto got = one.get();
    ASSERT_TRUE(got);
    EXPECT_EQ(*static_cast<std::string*>(got->get()), "a");
    leases.push_back(std::move(*got));
  }
  EXPECT_EQ(loader.loads, 1);
  EXPECT_EQ(state("a").leases, 100u);
  leases.clear();
  EXPECT_EQ(state("a").kind, ModelState::ready);
}

TEST_F(StoreTest, TheLeastRecentlyUsedIdleModelGoes) {
  lease("a");
  lease("b");
  lease("a");
  lease("c");
  EXPECT_EQ(state("b").kind, ModelState::absent);
  EXPECT_EQ(state("a").kind, ModelState::ready);
  EXPECT_EQ(store->stats().evictions, 1u);
  EXPECT_LE(store->stats().used_bytes, store->stats().budget_bytes);
}

TEST_F(StoreTest, WhatIsInUseStaysAndTheNextOneWaits) {
  auto a = lease("a");
  auto b = lease("b");
  auto c = ask("c");
  EXPECT_EQ(c.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  a->reset();
  EXPECT_TRUE(c.get());
  EXPECT_EQ(state("b").kind, ModelState::in_use);
  EXPECT_EQ(state("a").kind, ModelState::absent);
}

TEST_F(StoreTest, WhoWaitsTooLongIsTold) {
  start(100);
  auto a = lease("a");
  auto b = lease("b");
  const auto c = lease("c");
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error().code, ErrorCode::unavailable);
  EXPECT_EQ(store->stats().waiting, 0u);
  a->reset();
  EXPECT_TRUE(lease("c"));
}

TEST_F(StoreTest, APinnedModelStays) {
  ASSERT_TRUE(catalogue->set_pinned("a", true));
  lease("a");
  lease("b");
  lease("c");
  EXPECT_EQ(state("a").kind, ModelState::ready);
  EXPECT_EQ(state("b").kind, ModelState::absent);
}

TEST_F(StoreTest, WhatCannotFitIsSaidAtOnce) {
  const auto large = lease("large");
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, ErrorCode::too_large);
  EXPECT_EQ(loader.loads, 0);
}

TEST_F(StoreTest, AFailureIsRememberedForAWhile) {
  EXPECT_EQ(lease("bad").error().message, "it is bad");
  EXPECT_EQ(lease("bad").error().message, "it is bad");
  EXPECT_EQ(loader.loads, 1);
  EXPECT_EQ(state("bad").kind, ModelState::failed);
}

TEST_F(StoreTest, AForeignModelLooksLikeNone) {
  ASSERT_TRUE(catalogue->set_access("a", {"friend"}));
  EXPECT_TRUE(lease("a", "friend"));
  auto foreign = lease("a", "stranger").error().message;
  auto none = lease("x", "stranger").error().message;
  EXPECT_EQ(foreign.replace(foreign.find("'a'"), 3, "'x'"), none);
}

TEST_F(StoreTest, TwoModelsInTurnsForLong) {
  start();
  for (int round = 0; round < 200; ++round) {
    ASSERT_TRUE(lease("a"));
    ASSERT_TRUE(lease("b"));
    ASSERT_TRUE(lease("c"));
    ASSERT_LE(store->stats().used_bytes, 2'500u);
  }
  EXPECT_LE(store->stats().models_loaded, 2u);
  EXPECT_GE(store->stats().evictions, 300u);
}

TEST_F(StoreTest, AReplacedFileIsAnotherModel) {
  auto old = lease("a");
  write_model(root / "published" / "next", 1'100);
  fs::rename(root / "published" / "next", root / "published" / "a.gguf");
  ASSERT_TRUE(catalogue->rescan());
  auto replaced = lease("a");
  ASSERT_TRUE(replaced);
  EXPECT_NE(old->get(), replaced->get());
}

TEST_F(StoreTest, BadFilesAreListedWithTheirFaultAndNeverLoaded) {
  std::ofstream(root / "published" / "torn.gguf") << "GGUF";
  ASSERT_TRUE(catalogue->rescan());
  EXPECT_EQ(lease("torn").error().code, ErrorCode::not_found);
  bool listed = false;
  for (const ModelRecord& record : catalogue->list())
    listed = listed || (record.name == "torn" && record.fault.find("cut off") != std::string::npos);
  EXPECT_TRUE(listed);
}

TEST_F(StoreTest, WhatWasSetOutlivesTheProcess) {
  ASSERT_TRUE(catalogue->set_pinned("a", true));
  ASSERT_TRUE(catalogue->set_access("b", {"friend"}));
  start();
  EXPECT_TRUE(catalogue->find("a", "t")->pinned);
  EXPECT_FALSE(catalogue->find("b", "t"));
}

TEST_F(StoreTest, OnlyPulledFilesAreRemoved) {
  EXPECT_EQ(catalogue->remove("a").error().code, ErrorCode::permission_denied);
  write_model(root / "own" / "mine.gguf", 500);
  ASSERT_TRUE(catalogue->rescan());
  ASSERT_TRUE(catalogue->remove("mine"));
  EXPECT_FALSE(fs::exists(root / "own" / "mine.gguf"));
}

TEST(ValidateChild, WhatTheChildDoesIsItsAlone) {
  // A checker that is no checker: it exits, or dies, or says nonsense.
  char name[] = "/tmp/realm-child-XXXXXX";
  ASSERT_NE(mkdtemp(name), nullptr);
  const fs::path folder = name;
  write_model(folder / "a.gguf", 500);
  const std::pair<const char*, const char*> children[] = {
      {"kill -SEGV $$", "died of signal 11"}, {"echo nonsense", "nothing that can be understood"}, {"exit 3", "could not be confined"}};
  for (const auto& [does, said] : children) {
    const fs::path script = folder / "checker";
    std::ofstream(script) << "#!/bin/sh\n" << does << "\n";
    fs::permissions(script, fs::perms::owner_all);
    const auto checked = validate_in_child(script, folder / "a.gguf");
    ASSERT_FALSE(checked);
    EXPECT_NE(checked.error().message.find(said), std::string::npos) << checked.error().message;
  }
  EXPECT_TRUE(validate_in_child("/proc/self/exe", folder / "a.gguf"));
  EXPECT_EQ(validate_in_child("/proc/self/exe", folder / "none.gguf").error().code, ErrorCode::not_found);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace realm::models
