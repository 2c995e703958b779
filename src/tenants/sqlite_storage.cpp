// All SQL of Realm is in this file.
#include "tenants/sqlite_storage.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "tenants/sqlite_database.h"

namespace realm::tenants {
namespace {

constexpr int application_id = 0x7265616c;  // "real": tells our files from other SQLite databases

// migrations[i] brings a database from version i to i + 1.
constexpr const char* migrations[] = {
    "CREATE TABLE realms (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, weight REAL NOT NULL, models TEXT NOT NULL,"
    "  created INTEGER NOT NULL, revision INTEGER NOT NULL) STRICT;"
    "CREATE TABLE realm_limits (realm_id TEXT NOT NULL REFERENCES realms(id) ON DELETE CASCADE, name TEXT NOT NULL,"
    "  value INTEGER NOT NULL, PRIMARY KEY (realm_id, name)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE keys (id TEXT PRIMARY KEY, realm_id TEXT REFERENCES realms(id) ON DELETE CASCADE, secret_sha256 TEXT NOT NULL,"
    "  scopes INTEGER NOT NULL, label TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,"
    "  last_used INTEGER NOT NULL, revoked INTEGER NOT NULL) STRICT;"
    "CREATE INDEX keys_of_realm ON keys (realm_id);"
    "CREATE TABLE usage (realm_id TEXT NOT NULL, realm TEXT NOT NULL, model TEXT NOT NULL, key_id TEXT NOT NULL,"
    "  day INTEGER NOT NULL, requests INTEGER NOT NULL, errors INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,"
    "  cached_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, guest_cpu_us INTEGER NOT NULL,"
    "  kv_token_ms INTEGER NOT NULL, PRIMARY KEY (realm_id, day, model, key_id)) STRICT, WITHOUT ROWID;",
    "CREATE TABLE programs (realm_id TEXT NOT NULL REFERENCES realms(id) ON DELETE CASCADE, name TEXT NOT NULL, sha256 TEXT NOT NULL,"
    "  bytes INTEGER NOT NULL, manifest TEXT NOT NULL, created INTEGER NOT NULL, revision INTEGER NOT NULL,"
    "  PRIMARY KEY (realm_id, name, sha256)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE modules (realm_id TEXT NOT NULL REFERENCES realms(id) ON DELETE CASCADE, sha256 TEXT NOT NULL, module BLOB NOT NULL,"
    "  UNIQUE (realm_id, sha256)) STRICT;",
    "CREATE TABLE store_values (realm_id TEXT NOT NULL REFERENCES realms(id) ON DELETE CASCADE, key BLOB NOT NULL, value BLOB NOT NULL,"
    "  PRIMARY KEY (realm_id, key)) STRICT, WITHOUT ROWID;"};
constexpr int64_t schema_version = std::size(migrations);

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : "\n") + name;
  return text;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> names;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    names.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return names;
}

int64_t pragma(const Database& database, const char* sql) {
  Statement statement(database.native(), sql);
  return statement.step() ? statement.integer(0) : 0;
}

Result<void> migrate(const Database& database, const std::filesystem::path& file) {
  return database.transaction([&]() -> Result<void> {
    const int64_t version = pragma(database, "PRAGMA user_version");
    const int64_t owner = pragma(database, "PRAGMA application_id");
    const int64_t tables = pragma(database, "SELECT count(*) FROM sqlite_schema");
    if (owner != application_id && tables > 0) {
      return fail(ErrorCode::corrupt, "database " + file.string() + ": belongs to another program; choose another --data");
    }
    if (version > schema_version) {
      return fail(ErrorCode::unsupported, "database " + file.string() + ": has schema version " + std::to_string(version) +
                                              ", this realm-runtime knows " + std::to_string(schema_version) + "; use the newer one");
    }
    for (int64_t from = version; from < schema_version; ++from) {
      if (auto done = database.run(migrations[from]); !done) return done;
    }
    if (version == schema_version) return {};
    const std::string marks =
        "PRAGMA user_version=" + std::to_string(schema_version) + ";PRAGMA application_id=" + std::to_string(application_id);
    return database.run(marks.c_str());
  });
}

class SqliteStorage final : public Storage {
 public:
  explicit SqliteStorage(Database database) : database_(std::move(database)) {}

  Result<Snapshot> load() override {
    std::lock_guard lock(mutex_);
    Snapshot snapshot;
    const auto read = database_.transaction([&]() -> Result<void> {
      data_version_ = pragma(database_, "PRAGMA data_version");
      if (auto realms = load_realms(snapshot.realms); !realms) return realms;
      if (auto keys = load_keys(snapshot.keys); !keys) return keys;
      return load_programs(snapshot.programs);
    });
    if (!read) return std::unexpected(read.error());
    return snapshot;
  }

  Result<bool> changed_elsewhere() override {
    std::lock_guard lock(mutex_);
    Statement statement(database_.native(), "PRAGMA data_version");
    if (!statement.step()) return fail(statement.error());
    return std::exchange(data_version_, statement.integer(0)) != statement.integer(0);
  }

  Result<void> create_realm(const Realm& realm) override {
    return write([&]() -> Result<void> {
      Statement insert(database_.native(), "INSERT INTO realms VALUES (?,?,?,?,?,?)");
      const std::string models = joined(realm.models);
      insert.bind(realm.id).bind(realm.name).bind(realm.weight).bind(models).bind(realm.created_unix_s).bind(realm.revision);
      if (auto done = insert.finish(); !done) return done;
      return write_limits(realm);
    });
  }

  Result<void> update_realm(const Realm& realm) override {
    return write([&]() -> Result<void> {
      Statement update(database_.native(), "UPDATE realms SET name=?, weight=?, models=?, revision=? WHERE id=?");
      const std::string models = joined(realm.models);
      update.bind(realm.name).bind(realm.weight).bind(models).bind(realm.revision).bind(realm.id);
      if (auto done = update.finish(); !done) return done;
      if (sqlite3_changes(database_.native()) == 0) return fail(ErrorCode::not_found, "realm " + realm.name + " is not there any more");
      return write_limits(realm);
    });
  }

  Result<void> delete_realm(std::string_view id) override {
    return write([&]() -> Result<void> { return Statement(database_.native(), "DELETE FROM realms WHERE id=?").bind(id).finish(); });
  }

  Result<void> create_key(const StoredKey& stored) override {
    return write([&]() -> Result<void> {
      const Key& key = stored.key;
      Statement insert(database_.native(), "INSERT INTO keys VALUES (?,?,?,?,?,?,?,?,?)");
      insert.bind(key.id);
      key.realm_id.empty() ? insert.bind_null() : insert.bind(key.realm_id);
      insert.bind(stored.secret_sha256).bind(static_cast<int64_t>(key.scopes)).bind(key.label);
      insert.bind(key.created_unix_s).bind(key.expires_unix_s).bind(key.last_used_unix_s).bind(key.revoked_unix_s);
      return insert.finish();
    });
  }

  Result<void> revoke_key(std::string_view id, int64_t unix_s) override {
    return write([&]() -> Result<void> {
      return Statement(database_.native(), "UPDATE keys SET revoked=? WHERE id=?").bind(unix_s).bind(id).finish();
    });
  }

  Result<void> put_program(const ProgramRow& row, std::string_view module, std::span<const std::string> dropped) override {
    return write([&]() -> Result<void> {
      const ProgramVersion& version = row.version;
      Statement keep(database_.native(), "INSERT INTO modules VALUES (?,?,?) ON CONFLICT DO NOTHING");
      if (auto done = keep.bind(row.realm_id).bind(version.sha256).bind_blob(module).finish(); !done) return done;
      Statement insert(database_.native(), "INSERT OR REPLACE INTO programs VALUES (?,?,?,?,?,?,?)");
      insert.bind(row.realm_id).bind(row.name).bind(version.sha256).bind(version.bytes).bind(version.manifest);
      if (auto done = insert.bind(version.created_unix_s).bind(version.revision).finish(); !done) return done;
      for (const std::string& sha256 : dropped) {
        Statement drop(database_.native(), "DELETE FROM programs WHERE realm_id=? AND name=? AND sha256=?");
        if (auto done = drop.bind(row.realm_id).bind(row.name).bind(sha256).finish(); !done) return done;
      }
      return drop_unused_modules(row.realm_id);
    });
  }

  Result<void> delete_program(std::string_view realm_id, std::string_view name, std::string_view sha256) override {
    return write([&]() -> Result<void> {
      Statement drop(database_.native(), "DELETE FROM programs WHERE realm_id=?1 AND name=?2 AND (?3='' OR sha256=?3)");
      if (auto done = drop.bind(realm_id).bind(name).bind(sha256).finish(); !done) return done;
      return drop_unused_modules(realm_id);
    });
  }

  Result<std::string> module(std::string_view realm_id, std::string_view sha256) override {
    std::lock_guard lock(mutex_);
    Statement select(database_.native(), "SELECT module FROM modules WHERE realm_id=? AND sha256=?");
    select.bind(realm_id).bind(sha256);
    if (select.step()) return select.blob(0);
    if (auto done = select.error(); !done) return fail(std::move(done));
    return fail(ErrorCode::not_found, "the program is not there any more");
  }

  Result<std::vector<bool>> put_values(std::span<const ValueRow> rows) override {
    std::vector<bool> stored;
    const auto written = write([&]() -> Result<void> {
      for (const ValueRow& row : rows) {
        const auto done = row.value.empty() ? delete_value(row) : put_value(row);
        if (!done) return std::unexpected(done.error());
        stored.push_back(*done);
      }
      return {};
    });
    if (!written) return std::unexpected(written.error());
    return stored;
  }

  Result<std::string> value(std::string_view realm_id, std::string_view key) override {
    std::lock_guard lock(mutex_);
    Statement select(database_.native(), "SELECT value FROM store_values WHERE realm_id=? AND key=?");
    select.bind(realm_id).bind_blob(key);
    if (select.step()) return select.blob(0);
    if (auto done = select.error(); !done) return fail(std::move(done));
    return fail(ErrorCode::not_found, "the store has nothing under this key");
  }

  Result<std::vector<std::string>> value_keys(std::string_view realm_id, std::string_view prefix) override {
    std::lock_guard lock(mutex_);
    Statement select(database_.native(),
                     "SELECT key FROM store_values WHERE realm_id=?1 AND key>=?2 AND substr(key,1,length(?2))=?2 ORDER BY key");
    select.bind(realm_id).bind_blob(prefix);
    std::vector<std::string> keys;
    while (select.step()) keys.push_back(select.blob(0));
    if (auto done = select.error(); !done) return fail(std::move(done));
    return keys;
  }

  Result<uint64_t> value_bytes() override {
    std::lock_guard lock(mutex_);
    Statement select(database_.native(), "SELECT coalesce(sum(length(key)+length(value)+?),0) FROM store_values");
    if (select.bind(value_overhead_bytes).step()) return select.natural(0);
    return fail(select.error());
  }

  Result<void> touch_keys(std::span<const std::pair<std::string, int64_t>> last_used) override {
    return write([&]() -> Result<void> {
      for (const auto& [id, unix_s] : last_used) {
        Statement update(database_.native(), "UPDATE keys SET last_used=max(last_used,?) WHERE id=?");
        if (auto done = update.bind(unix_s).bind(id).finish(); !done) return done;
      }
      return {};
    });
  }

  Result<void> add_usage(std::span<const Usage> rows) override {
    return write([&]() -> Result<void> {
      for (const Usage& row : rows) {
        Statement insert(database_.native(),
                         "INSERT INTO usage VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET realm=excluded.realm,"
                         "requests=requests+excluded.requests, errors=errors+excluded.errors,"
                         "prompt_tokens=prompt_tokens+excluded.prompt_tokens, cached_tokens=cached_tokens+excluded.cached_tokens,"
                         "completion_tokens=completion_tokens+excluded.completion_tokens,"
                         "guest_cpu_us=guest_cpu_us+excluded.guest_cpu_us, kv_token_ms=kv_token_ms+excluded.kv_token_ms");
        insert.bind(row.realm_id).bind(row.realm).bind(row.model).bind(row.key_id).bind(row.day).bind(row.requests).bind(row.errors);
        insert.bind(row.prompt_tokens).bind(row.cached_tokens).bind(row.completion_tokens).bind(row.guest_cpu_us).bind(row.kv_token_ms);
        if (auto done = insert.finish(); !done) return done;
      }
      return {};
    });
  }

  Result<std::vector<Usage>> usage(const UsageQuery& query) override {
    std::lock_guard lock(mutex_);
    Statement select(database_.native(),
                     "SELECT realm_id, realm, model, key_id, day, requests, errors, prompt_tokens, cached_tokens, completion_tokens,"
                     "guest_cpu_us, kv_token_ms FROM usage WHERE (?1='' OR realm_id=?1) AND day BETWEEN ?2 AND ?3"
                     " ORDER BY realm, day, model, key_id");
    select.bind(query.realm_id).bind(query.first_day).bind(query.last_day);
    std::vector<Usage> rows;
    while (select.step()) {
      rows.push_back({.realm_id = select.text(0),
                      .realm = select.text(1),
                      .model = select.text(2),
                      .key_id = select.text(3),
                      .day = select.integer(4),
                      .requests = select.natural(5),
                      .errors = select.natural(6),
                      .prompt_tokens = select.natural(7),
                      .cached_tokens = select.natural(8),
                      .completion_tokens = select.natural(9),
                      .guest_cpu_us = select.natural(10),
                      .kv_token_ms = select.natural(11)});
    }
    if (auto done = select.error(); !done) return fail(std::move(done));
    return rows;
  }

 private:
  template <class Work>
  Result<void> write(Work work) {
    std::lock_guard lock(mutex_);
    return database_.transaction(std::move(work));
  }

  Result<bool> put_value(const ValueRow& row) {
    Statement insert(database_.native(),
                     "INSERT INTO store_values SELECT ?1,?2,?3 WHERE EXISTS (SELECT 1 FROM realms WHERE id=?1) AND ?4>="
                     "length(?2)+length(?3)+?5+(SELECT coalesce(sum(length(key)+length(value)+?5),0) FROM store_values"
                     " WHERE realm_id=?1 AND key<>?2) ON CONFLICT DO UPDATE SET value=excluded.value");
    insert.bind(row.realm_id).bind_blob(row.key).bind_blob(row.value).bind(row.bytes_max).bind(value_overhead_bytes);
    if (auto done = insert.finish(); !done) return std::unexpected(done.error());
    return sqlite3_changes(database_.native()) > 0;
  }

  Result<bool> delete_value(const ValueRow& row) {
    Statement drop(database_.native(), "DELETE FROM store_values WHERE realm_id=? AND key=?");
    if (auto done = drop.bind(row.realm_id).bind_blob(row.key).finish(); !done) return std::unexpected(done.error());
    return true;
  }

  Result<void> write_limits(const Realm& realm) {
    if (auto cleared = Statement(database_.native(), "DELETE FROM realm_limits WHERE realm_id=?").bind(realm.id).finish(); !cleared) {
      return cleared;
    }
    for (const LimitField& field : limit_fields) {
      const uint64_t value = realm.limits.*field.member;
      if (value == 0) continue;
      Statement insert(database_.native(), "INSERT INTO realm_limits VALUES (?,?,?)");
      if (auto done = insert.bind(realm.id).bind(std::string_view(field.name)).bind(value).finish(); !done) return done;
    }
    return {};
  }

  Result<void> load_realms(std::vector<Realm>& realms) {
    std::map<std::string, Limits> limits;
    Statement of_limits(database_.native(), "SELECT realm_id, name, value FROM realm_limits");
    while (of_limits.step()) {
      const std::string name = of_limits.text(1);
      for (const LimitField& field : limit_fields) {
        if (name == field.name) limits[of_limits.text(0)].*field.member = of_limits.natural(2);
      }
    }
    if (auto done = of_limits.error(); !done) return done;
    Statement select(database_.native(), "SELECT id, name, weight, models, created, revision FROM realms");
    while (select.step()) {
      realms.push_back({.id = select.text(0),
                        .name = select.text(1),
                        .weight = select.real(2),
                        .models = split(select.text(3)),
                        .limits = limits[select.text(0)],
                        .created_unix_s = select.integer(4),
                        .revision = select.natural(5)});
    }
    return select.error();
  }

  Result<void> load_keys(std::vector<StoredKey>& keys) {
    Statement select(database_.native(),
                     "SELECT id, realm_id, secret_sha256, scopes, label, created, expires, last_used, revoked FROM keys");
    while (select.step()) {
      StoredKey stored;
      stored.key = {.id = select.text(0),
                    .realm_id = select.text(1),
                    .scopes = static_cast<uint32_t>(select.integer(3)),
                    .label = select.text(4),
                    .created_unix_s = select.integer(5),
                    .expires_unix_s = select.integer(6),
                    .last_used_unix_s = select.integer(7),
                    .revoked_unix_s = select.integer(8)};
      stored.secret_sha256 = select.text(2);
      keys.push_back(std::move(stored));
    }
    return select.error();
  }

  Result<void> load_programs(std::vector<ProgramRow>& programs) {
    Statement select(database_.native(),
                     "SELECT realm_id, name, sha256, bytes, manifest, created, revision FROM programs ORDER BY realm_id, name, revision");
    while (select.step()) {
      programs.push_back({.realm_id = select.text(0),
                          .name = select.text(1),
                          .version = {.sha256 = select.text(2),
                                      .bytes = select.natural(3),
                                      .manifest = select.text(4),
                                      .created_unix_s = select.integer(5),
                                      .revision = select.natural(6)}});
    }
    return select.error();
  }

  Result<void> drop_unused_modules(std::string_view realm_id) {
    Statement drop(database_.native(),
                   "DELETE FROM modules WHERE realm_id=?1 AND sha256 NOT IN (SELECT sha256 FROM programs WHERE realm_id=?1)");
    return drop.bind(realm_id).finish();
  }

  std::mutex mutex_;
  Database database_;         // guarded
  int64_t data_version_ = 0;  // guarded
};

}  // namespace

Result<std::unique_ptr<Storage>> open_sqlite_storage(const std::filesystem::path& file) {
  auto database = Database::open(file);
  if (!database) return fail(std::move(database));
  for (const char* setting :
       {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON", "PRAGMA trusted_schema=OFF"}) {
    if (auto done = database->run(setting); !done) return fail(std::move(done));
  }
  if (auto done = migrate(*database, file); !done) return fail(std::move(done));
  return std::make_unique<SqliteStorage>(std::move(*database));
}

}  // namespace realm::tenants
