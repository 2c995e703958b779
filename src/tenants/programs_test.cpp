#include "tenants/programs.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tenants/opened_tenants.h"
#include "tenants/sqlite_database.h"

namespace realm::tenants {
namespace {

namespace fs = std::filesystem;

class ProgramsTest : public OpenedTenants {
 protected:
  void SetUp() override {
    OpenedTenants::SetUp();
    acme = *tenants->create_realm({.id = "", .name = "acme", .models = {}, .limits = {}});
  }
  Result<ProgramPointer> put(const RealmPointer& realm, const char* name, std::string_view module, std::string_view sha256,
                             std::string_view manifest = "") {
    return tenants->programs().put(*realm, name, module, sha256, manifest);
  }
  std::string versions(const RealmPointer& realm, const char* name) {
    const auto program = tenants->programs().find(realm->id, name);
    std::string text;
    if (program) {
      for (const ProgramVersion& version : program->versions) text += version.sha256;
    }
    return text;
  }

  RealmPointer acme;
};

TEST_F(ProgramsTest, WhatIsUploadedIsThereAfterReopening) {
  const std::string module("\0asm with \0 inside", 18);
  ASSERT_TRUE(put(acme, "judge", module, "a", R"({"cpu_ms":5})"));
  open();
  const auto program = tenants->programs().find(acme->id, "judge");
  ASSERT_TRUE(program);
  EXPECT_EQ(program->live().manifest, R"({"cpu_ms":5})");
  EXPECT_EQ(program->live().bytes, module.size());
  EXPECT_EQ(tenants->programs().module(acme->id, "a").value(), module);
}

TEST_F(ProgramsTest, TheLastUploadIsLiveAndAnOldOneCanComeBack) {
  for (const char* sha256 : {"a", "b", "c", "a"}) ASSERT_TRUE(put(acme, "judge", "module", sha256));
  EXPECT_EQ(versions(acme, "judge"), "bca");
  open();
  EXPECT_EQ(versions(acme, "judge"), "bca");
  ASSERT_TRUE(tenants->programs().remove(acme->id, "judge", "a"));
  EXPECT_EQ(versions(acme, "judge"), "bc");
  EXPECT_EQ(tenants->programs().remove(acme->id, "judge", "a").error().code, ErrorCode::not_found);
  ASSERT_TRUE(tenants->programs().remove(acme->id, "judge", ""));
  EXPECT_EQ(tenants->programs().find(acme->id, "judge"), nullptr);
  EXPECT_EQ(tenants->programs().module(acme->id, "b").error().code, ErrorCode::not_found);
  open();
  EXPECT_TRUE(tenants->programs().list(acme->id).empty());
}

TEST_F(ProgramsTest, TheOldestVersionMakesRoom) {
  for (size_t i = 0; i < program_versions_max + 2; ++i)
    ASSERT_TRUE(put(acme, "judge", "module", std::string(1, static_cast<char>('a' + i))));
  EXPECT_EQ(versions(acme, "judge"), "cdefghij");
  EXPECT_FALSE(tenants->programs().module(acme->id, "a"));
  open();
  EXPECT_EQ(versions(acme, "judge"), "cdefghij");
}

TEST_F(ProgramsTest, AModuleStaysWhileAnotherProgramHasIt) {
  ASSERT_TRUE(put(acme, "one", "module", "a"));
  ASSERT_TRUE(put(acme, "two", "module", "a"));
  ASSERT_TRUE(tenants->programs().remove(acme->id, "one", ""));
  EXPECT_EQ(tenants->programs().module(acme->id, "a").value(), "module");
}

TEST_F(ProgramsTest, RealmsSeeTheirOwnAlone) {
  const auto other = *tenants->create_realm({.id = "", .name = "other", .models = {}, .limits = {}});
  ASSERT_TRUE(put(acme, "judge", "module", "a"));
  EXPECT_EQ(tenants->programs().find(other->id, "judge"), nullptr);
  EXPECT_TRUE(tenants->programs().list(other->id).empty());
  EXPECT_EQ(tenants->programs().module(other->id, "a").error().code, ErrorCode::not_found);
  EXPECT_EQ(tenants->programs().remove(other->id, "judge", "").error().code, ErrorCode::not_found);
  ASSERT_TRUE(put(other, "judge", "another", "b"));
  EXPECT_EQ(versions(acme, "judge"), "a");
}

TEST_F(ProgramsTest, WithARealmItsProgramsGo) {
  ASSERT_TRUE(put(acme, "judge", "module", "a"));
  ASSERT_TRUE(tenants->delete_realm("acme"));
  EXPECT_EQ(tenants->programs().find(acme->id, "judge"), nullptr);
  EXPECT_FALSE(tenants->programs().module(acme->id, "a"));
  EXPECT_EQ(put(acme, "judge", "module", "a").error().code, ErrorCode::not_found);
  EXPECT_EQ(tenants->programs().stats().programs, 0u);
}

TEST_F(ProgramsTest, LimitsOfTheRealmHold) {
  const auto small =
      *tenants->create_realm({.id = "", .name = "small", .models = {}, .limits = {.programs_max = 2, .program_stored_bytes_max = 10}});
  ASSERT_TRUE(put(small, "one", "12345", "a"));
  ASSERT_TRUE(put(small, "one", "12345", "b"));
  EXPECT_EQ(put(small, "one", "1", "c").error().code, ErrorCode::too_large);
  ASSERT_TRUE(put(small, "one", "12345", "a")) << "the same again takes no room";
  ASSERT_TRUE(tenants->programs().remove(small->id, "one", "b"));
  ASSERT_TRUE(put(small, "two", "1", "c"));
  EXPECT_EQ(put(small, "three", "1", "d").error().code, ErrorCode::too_large);
  EXPECT_EQ(tenants->programs().check_room(*small, "three", 1).error().code, ErrorCode::too_large);
  EXPECT_EQ(tenants->programs().check_room(*small, "../x", 1).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(tenants->programs().stats().programs, 2u);
  EXPECT_EQ(tenants->programs().stats().bytes, 6u);
  ASSERT_TRUE(put(acme, "one", "12345678901", "a")) << "of another realm";
}

TEST_F(ProgramsTest, ADatabaseOfAnOlderVersionIsBroughtUp) {
  tenants.reset();
  const fs::path file = folder / "data" / "realm.db";
  {
    auto database = Database::open(file);
    ASSERT_TRUE(database);
    ASSERT_TRUE(database->run("DROP TABLE programs; DROP TABLE modules; DROP TABLE store_values; PRAGMA user_version=1"));
  }
  open();
  EXPECT_TRUE(tenants->realm("acme"));
  EXPECT_TRUE(put(acme, "judge", "module", "a"));
}

}  // namespace
}  // namespace realm::tenants
