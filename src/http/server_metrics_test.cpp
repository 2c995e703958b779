#include "http/server_metrics.h"

#include <gtest/gtest.h>

namespace realm::http {
namespace {

TEST(ServerMetrics, RetryAfterComesFromTheRateAtWhichTheRealmsRequestsEnd) {
  ServerMetrics metrics;
  EXPECT_EQ(metrics.retry_after_s("acme"), 1u) << "nothing is known of it";
  for (int i = 0; i < 20; ++i) metrics.request_began("acme");
  EXPECT_EQ(metrics.retry_after_s("acme"), 1u) << "none has ended";
  for (int i = 0; i < 10; ++i) metrics.request_ended("acme", "ok", {});
  // Ten ends within the memory of ten seconds are one a second, and ten are left.
  EXPECT_GE(metrics.retry_after_s("acme"), 10u);
  EXPECT_LE(metrics.retry_after_s("acme"), 11u);
  for (int i = 0; i < 10'000; ++i) metrics.request_began("acme");
  EXPECT_EQ(metrics.retry_after_s("acme"), retry_after_s_max);
  EXPECT_EQ(metrics.retry_after_s("other realm"), 1u);
}

}  // namespace
}  // namespace realm::http
