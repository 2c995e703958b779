#include "runtime/foreground_budget.h"

#include <gtest/gtest.h>

namespace realm::runtime {
namespace {

constexpr int64_t ms = 1'000'000;

TEST(ForegroundBudget, ManyShortRequestsGetAQuarterOfAProcessor) {
  ForegroundBudget budget;
  int64_t used_ms = 0;
  for (int64_t now_ms = 1; now_ms <= 10'000; now_ms += 2) {
    if (!budget.allows(now_ms * ms)) continue;
    budget.charge(2 * ms);
    used_ms += 2;
  }
  EXPECT_GE(used_ms, 2'500);
  EXPECT_LE(used_ms, 2'550);
}

TEST(ForegroundBudget, ABurstIsPaidBackAndNotMoreThanTheLargestDebt) {
  ForegroundBudget budget;
  int64_t now = 1'000 * ms;
  ASSERT_TRUE(budget.allows(now));
  budget.charge(240 * ms);
  EXPECT_FALSE(budget.allows(now += 790 * ms));
  EXPECT_TRUE(budget.allows(now += 20 * ms));
  budget.charge(3'600'000 * ms);
  EXPECT_FALSE(budget.allows(now += 3'980 * ms));
  EXPECT_TRUE(budget.allows(now += 40 * ms));
}

}  // namespace
}  // namespace realm::runtime
