#include "runtime/allowance.h"

#include <gtest/gtest.h>

namespace realm::runtime {
namespace {

TEST(AllowanceMeter, WithoutAManifestEverythingIsTheRealmsAffair) {
  const std::optional<Allowance> none;
  AllowanceMeter meter(none);
  meter.use_tokens(1'000'000);
  EXPECT_EQ(meter.model("any"), "any");
  EXPECT_EQ(meter.model(""), "");
  EXPECT_TRUE(meter.covers_kv(UINT64_MAX));
  EXPECT_EQ(meter.tokens_left(), UINT64_MAX);
  EXPECT_TRUE(meter.tensors());
  EXPECT_EQ(meter.limits({}).cpu_ms_max, sandbox::InstanceLimits().cpu_ms_max);
}

TEST(AllowanceMeter, WhatIsNotNamedIsDenied) {
  const std::optional<Allowance> empty = Allowance{};
  const AllowanceMeter meter(empty);
  EXPECT_EQ(meter.model(""), std::nullopt);
  EXPECT_EQ(meter.model("any"), std::nullopt);
  EXPECT_FALSE(meter.covers_kv(1));
  EXPECT_EQ(meter.tokens_left(), 0u);
  EXPECT_FALSE(meter.tensors());
}

TEST(AllowanceMeter, WhatIsNamedIsAllowedUpToItsAmount) {
  const std::optional<Allowance> some = Allowance{.models = {"first", "second"}, .kv_tokens_max = 10, .tokens_max = 5, .tensors = true};
  AllowanceMeter meter(some);
  EXPECT_EQ(meter.model(""), "first");
  EXPECT_EQ(meter.model("second"), "second");
  EXPECT_EQ(meter.model("third"), std::nullopt);
  EXPECT_TRUE(meter.covers_kv(10));
  EXPECT_TRUE(meter.tensors());
  EXPECT_FALSE(meter.covers_kv(11));
  meter.use_tokens(3);
  EXPECT_EQ(meter.tokens_left(), 2u);
  meter.use_tokens(7);
  EXPECT_EQ(meter.tokens_left(), 0u);
}

TEST(AllowanceMeter, NeverMoreThanTheRealmMay) {
  const std::optional<Allowance> much = Allowance{.models = {}, .cpu_ms_max = 1'000'000, .memory_bytes_max = 1ull << 40};
  const std::optional<Allowance> little = Allowance{.models = {}, .cpu_ms_max = 7, .memory_bytes_max = 65'536};
  const sandbox::InstanceLimits realm{.memory_bytes_max = 1 << 20, .cpu_ms_max = 100};
  EXPECT_EQ(AllowanceMeter(much).limits(realm).cpu_ms_max, 100u);
  EXPECT_EQ(AllowanceMeter(much).limits(realm).memory_bytes_max, 1u << 20);
  EXPECT_EQ(AllowanceMeter(little).limits(realm).cpu_ms_max, 7u);
  EXPECT_EQ(AllowanceMeter(little).limits(realm).memory_bytes_max, 65'536u);
}

}  // namespace
}  // namespace realm::runtime
