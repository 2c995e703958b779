// Where realms, keys and usage are kept for good. One implementation is SQLite; whatever talks to another database implements this.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tenants/types.h"

namespace realm::tenants {

struct StoredKey {
  Key key;
  std::string secret_sha256;  // hexadecimal
};

struct ProgramRow {
  std::string realm_id;
  std::string name;
  ProgramVersion version;
};

// What a program keeps. An empty value: what has the key goes.
struct ValueRow {
  std::string realm_id;
  std::string key;
  std::string value;
  uint64_t bytes_max = 0;  // of all values of the realm together, with their keys and overhead
};

// The durable stores of the realms' programs. Any thread; what was put is durable when put_values returns.
class ValueStorage {
 public:
  virtual ~ValueStorage() = default;
  // All in one transaction. Of each row: was it stored? Not when the realm would have more than bytes_max, or is gone.
  virtual Result<std::vector<bool>> put_values(std::span<const ValueRow> rows) = 0;
  virtual Result<std::string> value(std::string_view realm_id, std::string_view key) = 0;                       // not_found
  virtual Result<std::vector<std::string>> value_keys(std::string_view realm_id, std::string_view prefix) = 0;  // in order of bytes
  virtual Result<uint64_t> value_bytes() = 0;                                                                   // of all realms
};

struct Snapshot {
  std::vector<Realm> realms;
  std::vector<StoredKey> keys;
  std::vector<ProgramRow> programs;  // by realm, name and revision
};

struct UsageQuery {
  std::string realm_id;  // empty: all
  int64_t first_day = 0;
  int64_t last_day = INT64_MAX;
};

// Every write is durable when it returns. Any thread; one call at a time is served.
class Storage : public ValueStorage {
 public:
  virtual Result<Snapshot> load() = 0;
  virtual Result<bool> changed_elsewhere() = 0;  // by another process, since the last load or call of this
  virtual Result<void> create_realm(const Realm& realm) = 0;
  virtual Result<void> update_realm(const Realm& realm) = 0;
  virtual Result<void> delete_realm(std::string_view id) = 0;  // and its keys, programs and values; its usage stays
  virtual Result<void> create_key(const StoredKey& key) = 0;
  virtual Result<void> revoke_key(std::string_view id, int64_t unix_s) = 0;
  // Adds or replaces a version and drops others of the same program, all or nothing. A module is kept as long as a version has its hash.
  virtual Result<void> put_program(const ProgramRow& row, std::string_view module, std::span<const std::string> dropped) = 0;
  virtual Result<void> delete_program(std::string_view realm_id, std::string_view name,
                                      std::string_view sha256) = 0;  // empty: all versions
  virtual Result<std::string> module(std::string_view realm_id, std::string_view sha256) = 0;
  virtual Result<void> touch_keys(std::span<const std::pair<std::string, int64_t>> last_used) = 0;
  virtual Result<void> add_usage(std::span<const Usage> rows) = 0;
  virtual Result<std::vector<Usage>> usage(const UsageQuery& query) = 0;
};

}  // namespace realm::tenants
