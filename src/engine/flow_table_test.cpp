#include "engine/flow_table.h"

#include <gtest/gtest.h>

#include "engine/prefill_plan.h"
#include "engine/step_cost.h"

namespace realm::engine {
namespace {

TEST(FlowTable, AFloodIsOverServedBesideAFlowThatHadLess) {
  FlowTable flows;
  Flow& flood = flows.open(1);
  Flow& victim = flows.open(2);
  flows.begin_busy(flood);
  flood.charge(100'000);
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
  flood.charge(100'000);
  {
    Flow& victim = flows.open(2);
    flows.begin_busy(victim);
    victim.charge(10);
    flows.end_busy(victim);
    flows.close(victim);
  }
  EXPECT_TRUE(flows.is_over_served(flood));
}

TEST(FlowTable, AFloodIsKnownByWhatItAsksFor) {
  FlowTable flows;
  Flow& flood = flows.open(1);
  Flow& victim = flows.open(2);
  flows.begin_busy(flood);
  flows.begin_busy(victim);
  flood.pending_tokens = 2'000;
  EXPECT_FALSE(flows.is_over_served(flood)) << "one long prompt is no flood";
  flood.pending_tokens = 30'000;
  EXPECT_TRUE(flows.is_over_served(flood));
  victim.pending_tokens = 29'000;
  EXPECT_FALSE(flows.is_over_served(flood)) << "the other asks for as much";
  EXPECT_TRUE(flows.would_be_over_served(flood, 3, 100));
  EXPECT_FALSE(flows.would_be_over_served(flood, 3, 29'000));
  flows.set_weight(1, 30);
  victim.pending_tokens = 100;
  EXPECT_FALSE(flows.is_over_served(flood)) << "its weight is as large";
}

TEST(FlowTable, CreditIsTheSameServiceForEveryWeight) {
  FlowTable flows;
  flows.set_weight(2, 4);
  Flow& busy = flows.open(1);
  Flow& heavy = flows.open(2);
  flows.begin_busy(busy);
  busy.charge(100'000);
  flows.begin_busy(heavy);
  heavy.charge(returning_credit);
  EXPECT_DOUBLE_EQ(heavy.counter, busy.counter);
}

TEST(FlowTable, WorkInTheBatchCountsBeforeItIsCharged) {
  FlowTable flows;
  flows.set_weight(2, 3);
  Flow& light = flows.open(1);
  Flow& heavy = flows.open(2);
  heavy.counter = light.counter;
  light.active_sequences = 1;
  heavy.active_sequences = 2;
  EXPECT_LT(heavy.claim(), light.claim());
  heavy.active_sequences = 4;
  EXPECT_GT(heavy.claim(), light.claim());
}

TEST(FlowTable, WeightsScaleWhatIsCounted) {
  FlowTable flows;
  flows.set_weight(1, 3);
  Flow& heavy = flows.open(1);
  Flow& light = flows.open(2);
  heavy.charge(300);
  light.charge(100);
  EXPECT_DOUBLE_EQ(heavy.counter, light.counter);
}

TEST(FlowTable, ANewcomerCountsAsLessServedThanAFloodAndNotThanItself) {
  FlowTable flows;
  Flow& flood = flows.open(1);
  flows.begin_busy(flood);
  flood.charge(100'000);
  EXPECT_TRUE(flows.would_be_over_served(flood, 2, 10)) << "never seen before";
  EXPECT_FALSE(flows.would_be_over_served(flood, 1, 10));
  Flow& heavier = flows.open(3);
  flows.begin_busy(heavier);
  heavier.charge(200'000);
  flows.end_busy(heavier);
  EXPECT_FALSE(flows.would_be_over_served(flood, 3, 10)) << "it has had more";
}

TEST(PrefillPlan, TheLeastServedFlowHasTheBudgetAndEverybodyAToken) {
  std::vector<PrefillCandidate> candidates = {{.remaining = 1'000, .flow_counter = 300, .flow = 1},
                                              {.remaining = 50, .flow_counter = 9, .flow = 2}};
  plan_prefill(candidates, 40);
  EXPECT_EQ(candidates[0].slice, 1u);
  EXPECT_EQ(candidates[1].slice, 39u);
  plan_prefill(candidates, 512);
  EXPECT_EQ(candidates[0].slice, 462u);
  EXPECT_EQ(candidates[1].slice, 50u);
}

TEST(PrefillPlan, WithinATurnAFlowGoesOnAndItsPrioritiesCountForItselfOnly) {
  std::vector<PrefillCandidate> candidates = {{.remaining = 50, .flow_counter = 20, .priority = 1, .arrival = 4, .flow = 2},
                                              {.remaining = 50, .flow_counter = 90, .priority = 0, .arrival = 1, .flow = 1},
                                              {.remaining = 50, .flow_counter = 90, .priority = 9, .arrival = 3, .flow = 1}};
  plan_prefill(candidates, 72);
  EXPECT_EQ(candidates[0].slice, 1u) << "its flow began later";
  EXPECT_EQ(candidates[1].slice, 21u);
  EXPECT_EQ(candidates[2].slice, 50u);
}

TEST(StepCost, WhereDecodesTakeLongPromptsHaveAsMuchTimeAgain) {
  StepCost cost;
  cost.observe(1, 0, 400'000'000);
  cost.observe(0, 100, 200'000'000);  // 2 ms a token
  EXPECT_EQ(cost.prefill_budget(1, 60'000'000, 512), 200u);
}

TEST(StepCost, AStepThatFailedSaysNothing) {
  StepCost cost;
  cost.observe(0, 0, 1'000'000);
  EXPECT_EQ(cost.decodes().step_ns(4), 0);
  cost.observe(2, 0, 10'000'000);
  EXPECT_EQ(cost.decodes().step_ns(2), 10'000'000);
}

TEST(StepCost, SlicesAreWhatFitsIntoTheirTime) {
  StepCost cost;
  EXPECT_EQ(cost.aside_tokens_within(1e9, 512), 1u) << "before anything is known";
  EXPECT_EQ(cost.prefill_budget(1, 200'000'000, 512), 512u);
  EXPECT_EQ(cost.service(1'000'000, 7), 7);
  cost.observe(1, 0, 10'000'000);
  cost.observe(0, 100, 200'000'000);  // 2 ms a token
  EXPECT_EQ(cost.prefill_budget(1, 110'000'000, 512), 50u);
  EXPECT_EQ(cost.prefill_budget(1, 1'000'000, 512), StepCost::prefill_slice_tokens_min);
  EXPECT_EQ(cost.service(6'000'000, 7), 3);
  cost.observe_aside(0, 4, 40'000'000);
  EXPECT_EQ(cost.aside_tokens_within(30'000'000, 512), 3u);
  EXPECT_EQ(cost.aside_tokens_within(1'000'000, 512), 1u);
  EXPECT_EQ(cost.aside_tokens_within(17'000'000, 512), 2u) << "cut down, slices of one token would stay at one";
  EXPECT_EQ(cost.aside_tokens_within(1e12, 64), 64u);
}

}  // namespace
}  // namespace realm::engine
