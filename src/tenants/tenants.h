// Realms, keys, limits, programs and usage of one server. What a request needs is in memory; what must last is in the storage before a call
// that makes it returns.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tenants/programs.h"
#include "tenants/rate_limiter.h"
#include "tenants/types.h"
#include "tenants/usage_meter.h"

namespace realm::tenants {

using RealmPointer = std::shared_ptr<const Realm>;

struct TenantsOptions {
  std::filesystem::path folder;  // made with mode 0700; the database is realm.db in it
  Clock clock = Clock::system();
  uint32_t realms_max = 100'000;
  uint32_t keys_of_realm_max = 1'000;  // revoked ones included
};

// Who a key stands for.
struct Identity {
  RealmPointer realm;  // null for an operator's key
  std::string key_id;
  uint32_t scopes = 0;
};

struct NewKey {
  Key key;
  std::string text;  // the only time that it is known
};

class Tenants {
 public:
  // Also starts the thread that writes usage and looks, every second, whether another process changed the database.
  static Result<std::unique_ptr<Tenants>> open(const TenantsOptions& options);
  ~Tenants();  // writes what is not written yet
  Tenants(const Tenants&) = delete;
  Tenants& operator=(const Tenants&) = delete;

  // All of these: any thread. Names are unique; wherever a realm is meant, its name or its id will do.
  Result<RealmPointer> create_realm(Realm draft);  // of it: name, weight, models, limits
  Result<RealmPointer> realm(std::string_view name) const;
  std::vector<RealmPointer> realms() const;  // by name
  // `change` gets a copy; id, creation and revision stay as they are.
  Result<RealmPointer> update_realm(std::string_view name, const std::function<Result<void>(Realm&)>& change);
  Result<void> delete_realm(std::string_view name);
  // There are realms, or there were since open(): deleting the last one does not open a server to everybody.
  bool had_realms() const;

  Result<NewKey> create_key(std::string_view realm, uint32_t scopes, std::string label, int64_t expires_unix_s);
  Result<std::vector<Key>> keys(std::string_view realm) const;  // empty name: the operators' keys
  Result<Key> revoke_key(std::string_view id);
  bool has_operator_keys() const;

  // permission_denied, with the same words for an unknown, a wrong and a revoked key. Takes no disk.
  Result<Identity> authenticate(std::string_view key_text);

  std::expected<RateLimiter::Admission, RateRefusal> admit(const Realm& realm, uint64_t estimated_tokens);
  Programs& programs();
  ValueStorage& values();
  void record(Usage counts);
  Result<std::vector<Usage>> usage(const UsageQuery& query);

  // Called after a realm was deleted, here or by another process. Set it before anything else is used.
  void on_realm_gone(std::function<void(const std::string& realm_id)> callback);

  struct Stats {
    uint64_t authentications = 0;
    uint64_t authentications_refused = 0;
    uint32_t realms = 0;
    UsageMeter::Stats usage;
  };
  Stats stats() const;

 private:
  struct Impl;
  explicit Tenants(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What a realm's name and a model's may be: 1 to 128 of [A-Za-z0-9._-].
bool is_name(std::string_view text);

}  // namespace realm::tenants
