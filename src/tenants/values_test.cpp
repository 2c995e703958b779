// The values that programs keep, in SQLite.
#include <gtest/gtest.h>

#include "tenants/opened_tenants.h"
#include "tenants/sqlite_database.h"

namespace realm::tenants {
namespace {

class ValuesTest : public OpenedTenants {
 protected:
  void SetUp() override {
    OpenedTenants::SetUp();
    acme = (*tenants->create_realm({.id = "", .name = "acme", .models = {}, .limits = {}}))->id;
  }
  bool put(const std::string& realm_id, std::string key, std::string value, uint64_t bytes_max = 10'000) {
    const std::vector<ValueRow> rows = {{realm_id, std::move(key), std::move(value), bytes_max}};
    const auto stored = tenants->values().put_values(rows);
    EXPECT_TRUE(stored) << stored.error().message;
    return stored && stored->front();
  }
  std::string value(const std::string& realm_id, std::string_view key) {
    return tenants->values().value(realm_id, key).value_or("nothing");
  }

  std::string acme;
};

TEST_F(ValuesTest, WhatIsPutIsThereAfterReopening) {
  const std::string odd("\0 \xff'\"%_", 7);
  EXPECT_TRUE(put(acme, odd, odd + odd));
  EXPECT_TRUE(put(acme, "a", "old"));
  EXPECT_TRUE(put(acme, "a", "new"));
  open();
  EXPECT_EQ(value(acme, odd), odd + odd);
  EXPECT_EQ(value(acme, "a"), "new");
  EXPECT_EQ(tenants->values().value_bytes().value(), 21u + 4u + 2 * value_overhead_bytes);
  EXPECT_TRUE(put(acme, "a", ""));
  EXPECT_TRUE(put(acme, "a", "")) << "to delete nothing is no failure";
  EXPECT_EQ(value(acme, "a"), "nothing");
}

TEST_F(ValuesTest, APrefixIsBytesAndNoPattern) {
  for (const char* key : {"a%", "ab", "a_c", "A", "b", "a"}) EXPECT_TRUE(put(acme, key, "x"));
  const auto keys = [&](std::string_view prefix) { return tenants->values().value_keys(acme, prefix).value(); };
  EXPECT_EQ(keys(""), (std::vector<std::string>{"A", "a", "a%", "a_c", "ab", "b"}));
  EXPECT_EQ(keys("a"), (std::vector<std::string>{"a", "a%", "a_c", "ab"}));
  EXPECT_EQ(keys("a%"), (std::vector<std::string>{"a%"}));
  EXPECT_TRUE(keys("c").empty());
}

TEST_F(ValuesTest, RowsOfATransactionCountOneAfterTheOther) {
  const std::string half(400 - value_overhead_bytes - 1, 'x');
  const std::vector<ValueRow> rows = {{acme, "a", half, 800}, {acme, "b", half, 800}, {acme, "c", "x", 800},
                                      {acme, "b", "", 800},   {acme, "c", "x", 800},  {"rl_gone", "a", "x", 800}};
  EXPECT_EQ(tenants->values().put_values(rows).value(), (std::vector<bool>{true, true, false, true, true, false}));
  EXPECT_TRUE(put(acme, "a", half, 500)) << "in place of itself it needs no more room";
  EXPECT_FALSE(put(acme, "a", half + "x", 400 + 66));
  EXPECT_EQ(value(acme, "a"), half);
}

TEST_F(ValuesTest, ARealmsValuesGoWithIt) {
  const std::string other = (*tenants->create_realm({.id = "", .name = "other", .models = {}, .limits = {}}))->id;
  EXPECT_TRUE(put(acme, "a", "mine"));
  EXPECT_EQ(value(other, "a"), "nothing");
  EXPECT_TRUE(put(other, "a", "theirs"));
  ASSERT_TRUE(tenants->delete_realm("acme"));
  EXPECT_EQ(value(acme, "a"), "nothing");
  EXPECT_EQ(value(other, "a"), "theirs");
  EXPECT_FALSE(put(acme, "a", "late")) << "a request of the realm may still run";
}

TEST_F(ValuesTest, ADatabaseFromBeforeGetsTheTable) {
  tenants.reset();
  {
    const auto database = Database::open(folder / "data" / "realm.db");
    ASSERT_TRUE(database);
    ASSERT_TRUE(database->run("DROP TABLE store_values; PRAGMA user_version=2"));
  }
  open();
  EXPECT_TRUE(put(acme, "a", "x"));
}

}  // namespace
}  // namespace realm::tenants
