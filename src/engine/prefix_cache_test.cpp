#include "engine/prefix_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace realm::engine {
namespace {

using Tokens = std::vector<int32_t>;

class PrefixCacheTest : public ::testing::Test {
 protected:
  void insert(FlowId flow, const Tokens& tokens, size_t bytes = 64) { cache_.insert(flow, tokens, store_.allocate(bytes)); }
  uint32_t found(FlowId flow, const Tokens& tokens) { return cache_.find(flow, tokens).tokens; }

  StateStore store_{64u << 20};
  PrefixCache cache_{1'000};
};

Tokens history(uint32_t length, int32_t last = 7) {
  Tokens tokens(length, 1);
  tokens.back() = last;
  return tokens;
}

uint32_t common(const Tokens& a, const Tokens& b) {
  uint32_t length = 0;
  while (length < a.size() && length < b.size() && a[length] == b[length]) ++length;
  return length;
}

TEST_F(PrefixCacheTest, WhatAgreesLongestIsFoundAsInATreeOfAllHistories) {
  std::mt19937 random(4);
  std::vector<Tokens> inserted;  // fewer than the cache holds of a flow
  for (uint32_t round = 0; round < prefixes_per_flow_max - 1; ++round) {
    Tokens tokens;
    if (round > 0 && random() % 3 != 0) {
      const Tokens& other = inserted[random() % inserted.size()];
      tokens.assign(other.begin(), other.begin() + static_cast<ptrdiff_t>(random() % other.size()));
    }
    const size_t length = tokens.size() + prefix_tokens_min + random() % 20;
    while (tokens.size() < length) tokens.push_back(static_cast<int32_t>(random() % 2));
    insert(1, tokens);
    inserted.push_back(tokens);
    for (int query = 0; query < 200; ++query) {
      Tokens asked = inserted[random() % inserted.size()];
      asked.resize(random() % (asked.size() + 1));
      for (uint32_t i = random() % 20; i > 0; --i) asked.push_back(static_cast<int32_t>(random() % 2));
      uint32_t longest = 0;
      for (const Tokens& each : inserted) longest = std::max(longest, common(each, asked));
      ASSERT_EQ(found(1, asked), longest < prefix_tokens_min ? 0 : longest);
    }
  }
}

TEST_F(PrefixCacheTest, AHistoryIsDroppedForTheOneThatGoesOnFromIt) {
  insert(1, history(20));
  Tokens longer = history(20);
  longer.push_back(8);
  insert(1, longer);
  const auto match = cache_.find(1, history(20));
  EXPECT_EQ(match.tokens, 20u);
  EXPECT_EQ(match.saved_tokens, 21u);
  EXPECT_TRUE(cache_.evict_one());
  EXPECT_FALSE(cache_.evict_one());
}

TEST_F(PrefixCacheTest, NothingIsFoundAcrossFlows) {
  insert(1, history(20));
  EXPECT_EQ(found(2, history(20)), 0u);
  cache_.forget(1);
  EXPECT_EQ(found(1, history(20)), 0u);
}

TEST_F(PrefixCacheTest, TheFlowThatHoldsMostGivesUpWhatItUsedLongestAgo) {
  insert(1, history(20), 1'000);
  for (int32_t i = 0; i < 3; ++i) insert(2, history(20, 100 + i), 600);
  EXPECT_EQ(found(2, history(20, 100)), 20u);
  EXPECT_TRUE(cache_.evict_one());
  EXPECT_EQ(found(2, history(20, 101)), 19u);
  EXPECT_EQ(found(2, history(20, 100)), 20u);
  EXPECT_EQ(found(1, history(20)), 20u);
}

TEST_F(PrefixCacheTest, WhatIsPublishedIsFoundByAllAndNeverEvicted) {
  insert(published_flow, history(20), 600);
  insert(1, history(20, 8), 64);
  EXPECT_EQ(found(1, history(20, 8)), 20u);
  EXPECT_EQ(found(2, history(20)), 20u);
  EXPECT_EQ(found(published_flow, history(20, 8)), 19u) << "what a flow keeps was found by the published one";
  EXPECT_TRUE(cache_.evict_one());
  EXPECT_FALSE(cache_.evict_one());
  EXPECT_EQ(found(1, history(20)), 20u);
  cache_.forget(published_flow);
  EXPECT_EQ(found(1, history(20)), 0u);
}

TEST_F(PrefixCacheTest, WhatIsPublishedHasBytesOfItsOwn) {
  EXPECT_TRUE(cache_.insert(published_flow, history(20, 1), store_.allocate(600)));
  EXPECT_FALSE(cache_.insert(published_flow, history(20, 2), store_.allocate(600)));
  EXPECT_EQ(found(1, history(20, 2)), 19u);
}

TEST_F(PrefixCacheTest, AFlowHasABoundedNumberOfThem) {
  for (uint32_t i = 0; i <= prefixes_per_flow_max; ++i) insert(1, history(20, static_cast<int32_t>(100 + i)));
  uint32_t entries = 0;
  while (cache_.evict_one()) ++entries;
  EXPECT_EQ(entries, prefixes_per_flow_max);
}

}  // namespace
}  // namespace realm::engine
