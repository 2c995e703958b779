#include "http/tenant_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <map>
#include <memory>
#include <thread>

namespace realm::http {
namespace {

// A storage whose disk stands still until it is told to go on.
class SlowStorage final : public tenants::ValueStorage {
 public:
  void stand_still() { go_on_ = std::promise<void>(), may_go_ = go_on_.get_future().share(); }
  void go_on() { go_on_.set_value(); }
  void fail_from_now_on() { fails_ = true; }

  Result<std::vector<bool>> put_values(std::span<const tenants::ValueRow> rows) override {
    wait();
    if (fails_) return fail(ErrorCode::io, "the disk is broken");
    ++transactions;
    std::vector<bool> stored;
    for (const auto& row : rows) {
      stored.push_back(row.value.size() <= row.bytes_max);
      if (stored.back()) values_[row.realm_id + "/" + row.key] = row.value;
    }
    return stored;
  }
  Result<std::string> value(std::string_view realm_id, std::string_view key) override {
    wait();
    const auto found = values_.find(std::string(realm_id) + "/" + std::string(key));
    if (found == values_.end()) return fail(ErrorCode::not_found, "nothing");
    return found->second;
  }
  Result<std::vector<std::string>> value_keys(std::string_view, std::string_view) override {
    wait();
    if (fails_) return fail(ErrorCode::corrupt, "the database is damaged");
    return std::vector<std::string>{"a", "b"};
  }
  Result<uint64_t> value_bytes() override { return 0; }

  int transactions = 0;

 private:
  void wait() const {
    if (may_go_.valid()) may_go_.wait();
  }
  std::map<std::string, std::string> values_;
  std::promise<void> go_on_;
  std::shared_future<void> may_go_;
  bool fails_ = false;
};

std::future<Result<void>> put(TenantStore& store, std::string key, std::string value, uint64_t bytes_max = 1'000) {
  auto answer = std::make_shared<std::promise<Result<void>>>();
  store.put("rl_a", std::move(key), std::move(value), bytes_max, [answer](Result<void> result) { answer->set_value(std::move(result)); });
  return answer->get_future();
}
std::future<Result<std::string>> get(TenantStore& store, std::string key) {
  auto answer = std::make_shared<std::promise<Result<std::string>>>();
  store.get("rl_a", std::move(key), [answer](Result<std::string> result) { answer->set_value(std::move(result)); });
  return answer->get_future();
}

bool is_open(const auto& future) { return future.wait_for(std::chrono::seconds(0)) == std::future_status::timeout; }

TEST(TenantStoreTest, NoCallerWaitsForTheDisk) {
  SlowStorage storage;
  storage.stand_still();
  TenantStore store(storage);
  auto first = put(store, "a", "1");  // all of these return while the disk stands still
  auto second = put(store, "b", "2");
  auto third = get(store, "a");
  EXPECT_TRUE(is_open(first) && is_open(second) && is_open(third));
  storage.go_on();
  EXPECT_TRUE(first.get());
  EXPECT_TRUE(second.get());
  EXPECT_EQ(get(store, "b").get().value(), "2");
  EXPECT_EQ(get(store, "c").get().error().code, ErrorCode::not_found);
}

TEST(TenantStoreTest, PutsThatWaitTogetherAreOneTransaction) {
  SlowStorage storage;
  storage.stand_still();
  TenantStore store(storage);
  std::vector<std::future<Result<void>>> answers;
  for (int i = 0; i < 100; ++i) answers.push_back(put(store, std::to_string(i), "x"));
  storage.go_on();
  for (auto& answer : answers) EXPECT_TRUE(answer.get());
  EXPECT_LE(storage.transactions, 3);
  EXPECT_EQ(store.stats().puts, 100u);
}

TEST(TenantStoreTest, WhatWaitsIsBounded) {
  SlowStorage storage;
  storage.stand_still();
  TenantStore store(storage);
  std::vector<std::future<Result<void>>> answers;
  const std::string large(1 << 20, 'x');
  for (int i = 0; i < 80; ++i) answers.push_back(put(store, "a", large, UINT64_MAX));
  const auto refused = std::count_if(answers.begin(), answers.end(), [](const auto& one) { return !is_open(one); });
  EXPECT_EQ(refused, 80 - 64) << "64 MiB may wait";
  for (size_t i = 0; i < store_calls_max; ++i) get(store, "a");
  EXPECT_GT(store.stats().turned_away, static_cast<uint64_t>(refused));
  storage.go_on();
  int stored = 0;
  for (auto& answer : answers) {
    const auto result = answer.get();
    stored += result ? 1 : 0;
    EXPECT_TRUE(result || result.error().code == ErrorCode::unavailable);
  }
  EXPECT_EQ(stored, 64);
  EXPECT_TRUE(put(store, "a", large, UINT64_MAX).get()) << "the room comes back";
}

TEST(TenantStoreTest, ARefusedPutAndABrokenDiskAreToldApart) {
  SlowStorage storage;
  TenantStore store(storage);
  EXPECT_EQ(put(store, "a", "12345", 4).get().error().code, ErrorCode::resource_exhausted);
  storage.fail_from_now_on();
  EXPECT_EQ(put(store, "a", "1").get().error().code, ErrorCode::unavailable);
  auto keys = std::make_shared<std::promise<Result<std::vector<std::string>>>>();
  store.list("rl_a", "", [keys](auto result) { keys->set_value(std::move(result)); });
  EXPECT_EQ(keys->get_future().get().error().code, ErrorCode::unavailable);
  EXPECT_GE(store.stats().failures, 1u);
  EXPECT_EQ(store.stats().puts_refused, 1u);
}

TEST(TenantStoreTest, WhatWaitsAtTheEndIsAnswered) {
  SlowStorage storage;
  storage.stand_still();
  std::future<Result<void>> answer;
  std::thread late;
  {
    TenantStore store(storage);
    answer = put(store, "a", "1");
    late = std::thread([&storage] { storage.go_on(); });
  }
  late.join();
  EXPECT_TRUE(answer.get());
}

}  // namespace
}  // namespace realm::http
