#include "engine/flow_table.h"

#include <gtest/gtest.h>

#include "engine/prefill_plan.h"

namespace realm::engine {
namespace {

TEST(FlowTable, AFloodIsOverServedBesideAFlowThatHadLess) {
  FlowTable flows;
  Flow& flood = flows.open(1);
  Flow& victim = flows.open(2);
  flows.begin_busy(flood);
  flood.charge_input(100'000);
  EXPECT_FALSE(flows.is_over_served(flood)) << "it is alone";
  flows.begin_busy(victim);
  EXPECT_TRUE(flows.is_over_served(flood));
  EXPECT_FALSE(flows.is_over_served(victim));
  EXPECT_EQ(victim.counter, flood.counter - returning_credit) << "staying away earns no more than this";
}

TEST(FlowTable, AFlowThatOnlyPausesIsStillCounted) {
  FlowTable flows;
  Flow& flood = flows.open(1);
  flows.begin_busy(flood);
  flood.charge_input(100'000);
  {
    Flow& victim = flows.open(2);
    flows.begin_busy(victim);
    victim.charge_output(10);
    flows.end_busy(victim);
    flows.close(victim);
  }
  EXPECT_TRUE(flows.is_over_served(flood));
}

TEST(FlowTable, WeightsScaleWhatIsCounted) {
  FlowTable flows;
  flows.set_weight(1, 3);
  Flow& heavy = flows.open(1);
  Flow& light = flows.open(2);
  heavy.charge_output(300);
  light.charge_output(100);
  EXPECT_DOUBLE_EQ(heavy.counter, light.counter);
}

TEST(PrefillPlan, OverServedPromptsGetATokenWhileOthersWantTheBudget) {
  std::vector<PrefillCandidate> candidates = {{.remaining = 1'000, .flow_counter = 0, .flow = 1, .over_served = true},
                                              {.remaining = 50, .flow_counter = 9, .flow = 2}};
  plan_prefill(candidates, 512);
  EXPECT_EQ(candidates[0].slice, 1u);
  EXPECT_EQ(candidates[1].slice, 50u);
  candidates.pop_back();
  plan_prefill(candidates, 512);
  EXPECT_EQ(candidates[0].slice, 512u);
}

TEST(StepCost, ASharedBudgetTakesItsShareOfTheTime) {
  StepCost cost;
  EXPECT_EQ(cost.shared_budget(1, 512), 1u) << "before anything is known";
  cost.observe(1, 0, 10'000'000);
  cost.observe(1, 4, 18'000'000);  // 2 ms a token
  EXPECT_EQ(cost.shared_budget(1, 512), 5u);
  EXPECT_EQ(cost.shared_budget(0.1, 512), 1u);
  EXPECT_EQ(cost.shared_budget(100, 64), 64u);
}

}  // namespace
}  // namespace realm::engine
