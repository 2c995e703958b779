#include "engine/decode_plan.h"

#include <gtest/gtest.h>

namespace realm::engine {
namespace {

// Steps of 4 ms and 1.5 ms for each sequence, as a small model takes on two cores.
DecodeCost of_two_cores() {
  DecodeCost cost;
  for (int i = 0; i < 50; ++i) {
    cost.observe(1, 5'500'000);
    cost.observe(16, 28'000'000);
  }
  return cost;
}

TEST(DecodeCost, IsALineThroughWhatWasSeen) {
  const DecodeCost cost = of_two_cores();
  EXPECT_NEAR(cost.step_ns(1), 5.5e6, 1e4);
  EXPECT_NEAR(cost.step_ns(8), 16e6, 1e4);
  EXPECT_EQ(cost.sequences_within(14.6e6), 7u);
  EXPECT_EQ(cost.sequences_within(1e6), 1u);
}

TEST(DecodeCost, KnowsNothingAtFirstAndExpectsMuchOfWiderSteps) {
  DecodeCost cost;
  EXPECT_EQ(cost.step_ns(4), 0);
  EXPECT_EQ(cost.sequences_within(1e9), 1u);
  for (int i = 0; i < 10; ++i) cost.observe(20, 30'000'000);
  EXPECT_NEAR(cost.step_ns(20), 30e6, 1);
  EXPECT_LT(cost.step_ns(1), 30e6 / 2.2);
}

TEST(DecodeCost, OneSlowStepChangesLittle) {
  DecodeCost cost = of_two_cores();
  cost.observe(1, 2'000'000'000);
  EXPECT_LT(cost.step_ns(1), 7e6);
  EXPECT_GT(cost.step_ns(16), 20e6);
}

TEST(DecodeCost, TwiceAsManyNeverTakeMoreThanTwiceAsLong) {
  DecodeCost cost;
  for (int i = 0; i < 50; ++i) {
    cost.observe(1, 5'000'000);
    cost.observe(2, 40'000'000);
  }
  EXPECT_LE(cost.step_ns(2), 2.001 * cost.step_ns(1));
  EXPECT_EQ(cost.sequences_within(0), 1u);
}

TEST(DecodeCost, FollowsContextsThatGrow) {
  DecodeCost cost = of_two_cores();
  for (int i = 0; i < 200; ++i) {
    cost.observe(1, 8'000'000);
    cost.observe(8, 50'000'000);
  }
  EXPECT_NEAR(cost.step_ns(8), 50e6, 6e6);
}

Flow flow_of(FlowId id, double weight, uint32_t sequences) {
  Flow flow;
  flow.id = id;
  flow.weight = weight;
  flow.decode_sequences = sequences;
  return flow;
}

// The flows that are set aside, by id.
std::vector<FlowId> aside(std::vector<Flow> flows, const DecodeCost& cost) {
  std::vector<Flow*> planned;
  for (Flow& flow : flows) planned.push_back(&flow);
  plan_decodes(planned, cost);
  std::vector<FlowId> ids;
  for (const Flow& flow : flows) {
    if (flow.generates_aside) ids.push_back(flow.id);
  }
  return ids;
}

using Ids = std::vector<FlowId>;

TEST(DecodePlan, WhoSlowsOthersByMoreThanTheirShareIsSetAside) {
  const DecodeCost cost = of_two_cores();
  EXPECT_EQ(aside({flow_of(1, 1, 16), flow_of(2, 1, 1)}, cost), Ids{1});
  EXPECT_EQ(aside({flow_of(1, 1, 20), flow_of(2, 1, 1), flow_of(3, 1, 20)}, cost), (Ids{1, 3}));
  EXPECT_EQ(aside({flow_of(1, 1, 2), flow_of(2, 1, 1)}, cost), Ids{});
}

TEST(DecodePlan, FlowsThatAskForTheSameGenerateTogether) {
  std::vector<Flow> same;
  for (FlowId id = 0; id < 32; ++id) same.push_back(flow_of(id, 1, 2));
  EXPECT_EQ(aside(same, of_two_cores()), Ids{});
  EXPECT_EQ(aside({flow_of(1, 1, 16), flow_of(2, 1, 16)}, of_two_cores()), Ids{});
}

TEST(DecodePlan, SharesAreByWeight) {
  const DecodeCost cost = of_two_cores();
  EXPECT_EQ(aside({flow_of(1, 1, 2), flow_of(2, 3, 6)}, cost), Ids{});
  EXPECT_EQ(aside({flow_of(1, 1, 8), flow_of(2, 3, 8)}, cost), Ids{1});
}

TEST(DecodePlan, WhereWidthIsFreeNobodyIsSetAside) {
  DecodeCost cost;
  for (int i = 0; i < 50; ++i) {
    cost.observe(1, 10'000'000);
    cost.observe(64, 11'000'000);
  }
  EXPECT_EQ(aside({flow_of(1, 1, 200), flow_of(2, 1, 1)}, cost), Ids{});
}

TEST(DecodePlan, BeforeAnythingIsKnownAllGenerateTogether) { EXPECT_EQ(aside({flow_of(1, 1, 16), flow_of(2, 1, 1)}, DecodeCost{}), Ids{}); }

}  // namespace
}  // namespace realm::engine
