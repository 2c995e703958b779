#include "tenants/rate_limiter.h"

#include <gtest/gtest.h>

#include <memory>

namespace realm::tenants {
namespace {

constexpr int64_t second_ns = 1'000'000'000;

class RateLimiterTest : public testing::Test {
 protected:
  int64_t now_ns = 5 * second_ns;
  int64_t unix_s = 1'800'000'000;  // 2027-01-15 08:00 UTC
  uint64_t used_before = 0;
  RateLimiter limiter{Clock{[this] { return now_ns; }, [this] { return unix_s; }}};
  Realm realm{.id = "rl_a", .name = "a", .models = {}, .limits = {}};

  auto admit(uint64_t tokens = 1) {
    return limiter.admit(realm, tokens, [this](const std::string&, int64_t, int64_t) { return used_before; });
  }
  std::string refusal(uint64_t tokens = 1) {
    auto admission = admit(tokens);
    return admission ? "" : std::string(admission.error().limit);
  }
};

TEST_F(RateLimiterTest, WithoutLimitsEverythingIsAdmitted) {
  for (int i = 0; i < 1'000; ++i) {
    auto admission = admit(1'000'000);
    ASSERT_TRUE(admission);
    admission->settle(1'000'000);
  }
}

TEST_F(RateLimiterTest, RequestsAMinuteAreCountedAndRefillEvenly) {
  realm.limits.requests_per_minute = 6;
  for (int i = 0; i < 6; ++i) admit()->settle(0);
  const auto refused = admit();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().limit, "requests_per_minute");
  EXPECT_EQ(refused.error().retry_after_ms, 10'000u);
  EXPECT_EQ(refused.error().state.requests_limit, 6u);
  EXPECT_EQ(refused.error().state.requests_remaining, 0u);
  now_ns += 9'999'000'000;
  EXPECT_EQ(refusal(), "requests_per_minute");
  now_ns += 1'000'000;
  EXPECT_EQ(refusal(), "");
}

TEST_F(RateLimiterTest, TokensAreSettledUpAndDown) {
  realm.limits.tokens_per_minute = 600;
  auto first = admit(100);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->state().tokens_remaining, 500u);
  first->settle(700);  // 100 more than there were: a debt
  const auto refused = admit(1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().limit, "tokens_per_minute");
  EXPECT_EQ(refused.error().retry_after_ms, 10'100u);
  now_ns += 60 * second_ns;
  auto second = admit(400);
  ASSERT_TRUE(second);
  second->settle(0);
  EXPECT_EQ(admit(1)->state().tokens_remaining, 499u);
}

TEST_F(RateLimiterTest, WhatIsDroppedUnsettledIsGivenBack) {
  realm.limits.requests_per_minute = 1;
  realm.limits.tokens_per_minute = 10;
  { auto dropped = admit(10); }
  EXPECT_EQ(refusal(10), "");
}

TEST_F(RateLimiterTest, ARequestLargerThanTheBucketPassesWhenItIsFull) {
  realm.limits.tokens_per_minute = 10;
  auto large = admit(1'000);
  ASSERT_TRUE(large);
  large->settle(1'000);
  EXPECT_EQ(refusal(), "tokens_per_minute");
}

TEST_F(RateLimiterTest, ConcurrentRequestsAreCountedUntilTheyEnd) {
  realm.limits.concurrent_requests_max = 2;
  auto first = admit();
  auto second = admit();
  EXPECT_EQ(refusal(), "concurrent_requests_max");
  first->settle(1);
  EXPECT_EQ(refusal(), "");
}

TEST_F(RateLimiterTest, ABudgetHoldsUntilItsDayEnds) {
  realm.limits.tokens_per_day = 1'000;
  used_before = 400;
  admit(100)->settle(600);
  const auto refused = admit();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().limit, "tokens_per_day");
  EXPECT_EQ(refused.error().retry_after_ms, 16u * 3'600 * 1'000);
  unix_s += 16 * 3'600 - 1;
  EXPECT_EQ(refusal(), "tokens_per_day");
  unix_s += 1;
  used_before = 0;
  EXPECT_EQ(refusal(), "");
}

TEST_F(RateLimiterTest, ABudgetHoldsUntilItsMonthEnds) {
  realm.limits.tokens_per_month = 10;
  used_before = 10;
  EXPECT_EQ(refusal(), "tokens_per_month");
  unix_s += 16 * 86'400;  // 2027-01-31
  EXPECT_EQ(refusal(), "tokens_per_month");
  unix_s += 86'400;
  used_before = 0;
  EXPECT_EQ(refusal(), "");
}

TEST_F(RateLimiterTest, ANewLimitCountsWhatWasUsed) {
  realm.limits.requests_per_minute = 2;
  admit()->settle(0);
  admit()->settle(0);
  realm.limits.requests_per_minute = 3;
  auto third = admit();
  ASSERT_TRUE(third);
  EXPECT_EQ(refusal(), "requests_per_minute");
}

}  // namespace
}  // namespace realm::tenants
