#include "tenants/tenants.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "tenants/sqlite_database.h"

namespace realm::tenants {
namespace {

namespace fs = std::filesystem;

class TenantsTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/realm-tenants-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder = fs::path(name) / "data";
  }
  void TearDown() override { fs::remove_all(folder.parent_path()); }

  std::unique_ptr<Tenants> open() {
    auto opened = Tenants::open({.folder = folder, .clock = clock});
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? std::move(*opened) : nullptr;
  }
  static std::string new_key(Tenants& tenants, std::string_view realm, int64_t expires = 0) {
    auto key = tenants.create_key(realm, scope_inference, "", expires);
    EXPECT_TRUE(key) << key.error().message;
    return key ? key->text : "";
  }

  fs::path folder;
  std::atomic<int64_t> unix_s{1'800'000'000};
  Clock clock{Clock::system().monotonic_ns, [this] { return unix_s.load(); }};
};

TEST_F(TenantsTest, WhatIsMadeIsThereAfterReopening) {
  std::string key;
  {
    auto tenants = open();
    Realm draft{.id = "", .name = "acme", .weight = 3, .models = {"one", "two"}, .limits = {}};
    draft.limits.tokens_per_minute = 1'000;
    ASSERT_TRUE(tenants->create_realm(draft));
    key = new_key(*tenants, "acme");
  }
  auto tenants = open();
  const auto realm = tenants->realm("acme");
  ASSERT_TRUE(realm);
  EXPECT_EQ((*realm)->weight, 3);
  EXPECT_EQ((*realm)->models, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ((*realm)->limits.tokens_per_minute, 1'000u);
  const auto identity = tenants->authenticate(key);
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->realm->name, "acme");
  EXPECT_EQ(identity->scopes, scope_inference);
}

TEST_F(TenantsTest, TheDatabaseIsItsOwnersAlone) {
  auto tenants = open();
  struct stat found {};
  ASSERT_EQ(stat(folder.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0700u);
  ASSERT_EQ(stat((folder / "realm.db").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
}

TEST_F(TenantsTest, ImpossibleRealmsAreRefused) {
  auto tenants = open();
  for (const char* name : {"", "a b", "a/b", "ä", "a\n"}) {
    EXPECT_EQ(tenants->create_realm({.id = "", .name = name, .models = {}, .limits = {}}).error().code, ErrorCode::invalid_argument)
        << name;
  }
  for (const double weight : {0.0, -1.0, 1'001.0, std::nan("")}) {
    EXPECT_FALSE(tenants->create_realm({.id = "", .name = "a", .weight = weight, .models = {}, .limits = {}})) << weight;
  }
  ASSERT_TRUE(tenants->create_realm({.id = "", .name = "a", .models = {}, .limits = {}}));
  EXPECT_EQ(tenants->create_realm({.id = "", .name = "a", .models = {}, .limits = {}}).error().code, ErrorCode::already_exists);
  for (const LimitField& field : limit_fields) {
    const auto changed = tenants->update_realm("a", [&](Realm& realm) -> Result<void> {
      realm.limits.*field.member = field.most + 1;
      return {};
    });
    EXPECT_FALSE(changed) << field.name;
  }
}

TEST_F(TenantsTest, TheSecretIsNowhereInTheFolder) {
  auto tenants = open();
  ASSERT_TRUE(tenants->create_realm({.id = "", .name = "a", .models = {}, .limits = {}}));
  const std::string key = new_key(*tenants, "a");
  ASSERT_TRUE(tenants->authenticate(key));
  tenants.reset();
  const std::string secret = key.substr(key.rfind('_') + 1);
  for (const auto& file : fs::directory_iterator(folder)) {
    std::ifstream in(file.path(), std::ios::binary);
    std::stringstream bytes;
    bytes << in.rdbuf();
    EXPECT_EQ(bytes.str().find(secret), std::string::npos) << file.path();
  }
}

TEST_F(TenantsTest, WrongKeysAreRefusedInTheSameWords) {
  auto tenants = open();
  ASSERT_TRUE(tenants->create_realm({.id = "", .name = "a", .models = {}, .limits = {}}));
  const std::string key = new_key(*tenants, "a");
  const std::string revoked = new_key(*tenants, "a");
  ASSERT_TRUE(tenants->revoke_key(revoked));
  std::string wrong_secret = key;
  wrong_secret.back() = wrong_secret.back() == 'a' ? 'b' : 'a';
  std::string unknown_id = key;
  unknown_id[4] = unknown_id[4] == 'a' ? 'b' : 'a';
  std::set<std::string> words;
  for (const std::string& bad :
       {std::string(), std::string("rk_"), std::string(100'000, 'x'), wrong_secret, unknown_id, revoked, key + "a"}) {
    const auto identity = tenants->authenticate(bad);
    ASSERT_FALSE(identity) << bad;
    words.insert(identity.error().message);
  }
  EXPECT_EQ(words.size(), 1u);
  EXPECT_TRUE(tenants->authenticate(key));
}

TEST_F(TenantsTest, RevokedKeyIsRefusedAtOnceOnEveryThread) {
  auto tenants = open();
  ASSERT_TRUE(tenants->create_realm({.id = "", .name = "a", .models = {}, .limits = {}}));
  for (int round = 0; round < 20; ++round) {
    auto key = tenants->create_key("a", scope_inference, "", 0);
    std::atomic<bool> revoked{false};
    std::atomic<int> late{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 500; ++n) {
          const bool was_revoked = revoked.load();
          if (tenants->authenticate(key->text) && was_revoked) ++late;
        }
      });
    }
    ASSERT_TRUE(tenants->revoke_key(key->key.id));
    revoked = true;
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(late, 0);
  }
}

TEST_F(TenantsTest, AnExpiredKeySaysSo) {
  auto tenants = open();
  ASSERT_TRUE(tenants->create_realm({.id = "", .name = "a", .models = {}, .limits = {}}));
  const std::string key = new_key(*tenants, "a", unix_s + 10);
  EXPECT_TRUE(tenants->authenticate(key));
  unix_s += 10;
  const auto identity = tenants->authenticate(key);
  ASSERT_FALSE(identity);
  EXPECT_NE(identity.error().message.find("expired"), std::string::npos);
  EXPECT_FALSE(tenants->create_key("a", scope_inference, "", unix_s - 1));
}

TEST_F(TenantsTest, ADeletedRealmTakesItsKeysWithItAndKeepsItsUsage) {
  auto tenants = open();
  std::vector<std::string> gone;
  tenants->on_realm_gone([&gone](const std::string& id) { gone.push_back(id); });
  const auto realm = tenants->create_realm({.id = "", .name = "a", .models = {}, .limits = {}});
  const std::string key = new_key(*tenants, "a");
  tenants->record({.realm_id = (*realm)->id, .realm = "a", .model = "m", .key_id = "k", .requests = 1, .prompt_tokens = 7});
  ASSERT_TRUE(tenants->delete_realm("a"));
  EXPECT_FALSE(tenants->authenticate(key));
  EXPECT_FALSE(tenants->realm("a"));
  EXPECT_EQ(gone, std::vector<std::string>{(*realm)->id});
  const auto usage = tenants->usage({});
  ASSERT_TRUE(usage);
  ASSERT_EQ(usage->size(), 1u);
  EXPECT_EQ(usage->front().prompt_tokens, 7u);
}

TEST_F(TenantsTest, AnotherProcesssChangesAreSeen) {
  auto server = open();
  ASSERT_TRUE(server->create_realm({.id = "", .name = "a", .models = {}, .limits = {}}));
  const std::string key = new_key(*server, "a");
  auto command_line = open();
  ASSERT_TRUE(command_line->revoke_key(key));
  ASSERT_TRUE(command_line->create_realm({.id = "", .name = "b", .models = {}, .limits = {}}));
  for (int i = 0; i < 100 && (server->authenticate(key) || !server->realm("b")); ++i) usleep(50'000);
  EXPECT_FALSE(server->authenticate(key));
  EXPECT_TRUE(server->realm("b"));
}

TEST_F(TenantsTest, UsageOfManyThreadsAddsUpExactly) {
  {
    auto tenants = open();
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 1'000; ++n) {
          tenants->record(
              {.realm_id = "rl_a", .realm = "a", .model = "m", .key_id = "k", .requests = 1, .prompt_tokens = 3, .completion_tokens = 2});
        }
      });
    }
    for (auto& thread : threads) thread.join();
    unix_s += 86'400;
    tenants->record({.realm_id = "rl_a", .realm = "a", .model = "m", .key_id = "k", .requests = 1});
  }
  auto tenants = open();
  const auto rows = tenants->usage({.realm_id = "rl_a"});
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ(rows->at(0).requests, 8'000u);
  EXPECT_EQ(rows->at(0).prompt_tokens, 24'000u);
  EXPECT_EQ(rows->at(1).requests, 1u);
  EXPECT_EQ(tenants->usage({.realm_id = "rl_b"})->size(), 0u);
}

TEST_F(TenantsTest, ABudgetCountsWhatAnEarlierProcessUsed) {
  Realm draft{.id = "", .name = "a", .models = {}, .limits = {}};
  draft.limits.tokens_per_day = 100;
  {
    auto tenants = open();
    const auto realm = tenants->create_realm(draft);
    tenants->record({.realm_id = (*realm)->id, .realm = "a", .model = "m", .key_id = "", .requests = 1, .completion_tokens = 100});
  }
  auto tenants = open();
  const auto admission = tenants->admit(**tenants->realm("a"), 1);
  ASSERT_FALSE(admission);
  EXPECT_EQ(admission.error().limit, "tokens_per_day");
}

TEST_F(TenantsTest, ForeignAndNewerDatabasesAreLeftAlone) {
  fs::create_directories(folder);
  const fs::path file = folder / "realm.db";
  std::ofstream(file) << std::string(4'096, 'x');
  EXPECT_EQ(Tenants::open({.folder = folder}).error().code, ErrorCode::corrupt);
  fs::remove(file);
  { EXPECT_TRUE(Database::open(file)->run("CREATE TABLE another (a)")); }
  EXPECT_EQ(Tenants::open({.folder = folder}).error().code, ErrorCode::corrupt);
  fs::remove(file);
  open();
  { EXPECT_TRUE(Database::open(file)->run("PRAGMA user_version=1000")); }
  EXPECT_EQ(Tenants::open({.folder = folder}).error().code, ErrorCode::unsupported);
}

// Runs in a child: makes realms and keys, revokes some, and says what has been acknowledged, until it is killed.
[[noreturn]] void write_until_killed(const fs::path& folder, int out) {
  auto tenants = Tenants::open({.folder = folder});
  if (!tenants) _exit(1);
  for (int i = 0;; ++i) {
    const std::string name = "r" + std::to_string(getpid()) + "-" + std::to_string(i);
    if (!(*tenants)->create_realm({.id = "", .name = name, .models = {}, .limits = {}})) _exit(2);
    std::string said = "realm " + name + "\n";
    if (write(out, said.data(), said.size()) < 0) _exit(3);
    auto key = (*tenants)->create_key(name, scope_inference, "", 0);
    if (!key) _exit(4);
    said = "key " + key->text + "\n";
    if (write(out, said.data(), said.size()) < 0) _exit(3);
    if (i % 2 == 1) {
      if (!(*tenants)->revoke_key(key->key.id)) _exit(5);
      said = "revoked " + key->text + "\n";
      if (write(out, said.data(), said.size()) < 0) _exit(3);
    }
  }
}

TEST_F(TenantsTest, WhatWasAcknowledgedSurvivesBeingKilled) {
  const char* wished = std::getenv("REALM_KILLS");
  const int kills = wished == nullptr ? 20 : std::atoi(wished);
  std::set<std::string> realms, keys, revoked;
  std::mt19937 random(7);
  for (int round = 0; round < kills; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) write_until_killed(folder, ends[1]);
    close(ends[1]);
    usleep(30'000 + random() % 120'000);
    kill(child, SIGKILL);
    std::string said;
    char buffer[4'096];
    for (ssize_t count = 0; (count = read(ends[0], buffer, sizeof buffer)) > 0;) said.append(buffer, static_cast<size_t>(count));
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "exit code " << WEXITSTATUS(status);
    std::istringstream lines(said);
    for (std::string what, which; lines >> what >> which;) (what == "realm" ? realms : what == "key" ? keys : revoked).insert(which);
  }
  EXPECT_GT(revoked.size(), static_cast<size_t>(kills));
  auto tenants = open();
  for (const std::string& name : realms) EXPECT_TRUE(tenants->realm(name)) << name;
  std::set<std::string> stored;
  for (const std::string& name : realms) {
    const auto of_realm = tenants->keys(name);
    for (const Key& key : *of_realm) stored.insert(key.id);
  }
  for (const std::string& key : keys) EXPECT_TRUE(stored.contains(key.substr(3, 12))) << key;
  for (const std::string& key : revoked) EXPECT_FALSE(tenants->authenticate(key)) << key;
}

}  // namespace
}  // namespace realm::tenants
