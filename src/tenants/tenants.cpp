#include "tenants/tenants.h"

#include <sys/stat.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <optional>
#include <set>
#include <shared_mutex>
#include <thread>

#include "base/log.h"
#include "base/thread_name.h"
#include "tenants/key_text.h"
#include "tenants/sqlite_storage.h"

namespace realm::tenants {
namespace {

constexpr std::chrono::milliseconds background_period{500};
constexpr size_t label_characters_max = 128;
constexpr size_t models_max = 1'000;
constexpr const char* bad_key = "this API key is not valid; ask the operator for one";

Result<void> check(const Realm& realm) {
  if (!is_name(realm.name)) return fail(ErrorCode::invalid_argument, "realm name: 1 to 128 letters, digits, '.', '_' or '-'");
  if (!(realm.weight >= 0.001 && realm.weight <= 1'000)) return fail(ErrorCode::invalid_argument, "weight: must be 0.001 to 1000");
  if (realm.models.size() > models_max ||
      !std::all_of(realm.models.begin(), realm.models.end(), [](const auto& name) { return is_name(name); })) {
    return fail(ErrorCode::invalid_argument, "models: at most 1000 names of letters, digits, '.', '_' or '-'");
  }
  for (const LimitField& field : limit_fields) {
    if (realm.limits.*field.member > field.most) {
      return fail(ErrorCode::invalid_argument, std::string(field.name) + ": must be 0 to " + std::to_string(field.most));
    }
  }
  return {};
}

}  // namespace

struct Tenants::Impl {
  TenantsOptions options;
  std::unique_ptr<Storage> storage;
  std::unique_ptr<UsageMeter> meter;
  RateLimiter limiter;
  std::function<void(const std::string&)> realm_gone;
  std::atomic<uint64_t> authentications{0};
  std::atomic<uint64_t> refused{0};
  std::atomic<bool> had_realms{false};

  std::mutex changing;              // one change at a time: storage first, then memory
  mutable std::shared_mutex mutex;  // guards the three below
  std::map<std::string, RealmPointer, std::less<>> by_id;
  std::map<std::string, std::string, std::less<>> ids_by_name;
  std::map<std::string, StoredKey, std::less<>> keys;
  std::optional<Programs> programs;  // since there is a storage

  std::mutex touched_mutex;
  std::map<std::string, int64_t> touched;  // guarded: keys used since the last write

  std::mutex stop_mutex;
  std::condition_variable stop_changed;
  bool stopping = false;  // guarded
  std::thread background;

  explicit Impl(const TenantsOptions& the_options) : options(the_options), limiter(the_options.clock) {}

  int64_t now() const { return options.clock.unix_s(); }

  RealmPointer find(std::string_view name) const {
    std::shared_lock lock(mutex);
    const auto id = ids_by_name.find(name);
    const auto found = by_id.find(id == ids_by_name.end() ? name : std::string_view(id->second));
    return found == by_id.end() ? nullptr : found->second;
  }

  Result<RealmPointer> require(std::string_view name) const {
    if (auto realm = find(name)) return realm;
    return fail(ErrorCode::not_found, "realm " + std::string(name.substr(0, 128)) + " does not exist (realm realms list)");
  }

  Result<void> reload() {
    auto snapshot = storage->load();
    if (!snapshot) return fail(std::move(snapshot));
    std::map<std::string, RealmPointer, std::less<>> realms;
    std::map<std::string, std::string, std::less<>> names;
    std::map<std::string, StoredKey, std::less<>> all_keys;
    for (Realm& realm : snapshot->realms) {
      names.emplace(realm.name, realm.id);
      const std::string id = realm.id;
      realms.emplace(id, std::make_shared<const Realm>(std::move(realm)));
    }
    for (StoredKey& stored : snapshot->keys) all_keys.emplace(stored.key.id, std::move(stored));
    if (!realms.empty()) had_realms = true;
    std::vector<std::string> gone;
    {
      std::unique_lock lock(mutex);
      for (const auto& [id, realm] : by_id) {
        if (!realms.contains(id)) gone.push_back(id);
      }
      by_id.swap(realms);
      ids_by_name.swap(names);
      keys.swap(all_keys);
    }
    programs->replace(std::move(snapshot->programs));
    for (const std::string& id : gone) forget(id);
    return {};
  }

  void forget(const std::string& id) {
    limiter.forget(id);
    programs->forget(id);
    if (realm_gone) realm_gone(id);
  }

  void put(const RealmPointer& realm) {
    std::unique_lock lock(mutex);
    if (const auto before = by_id.find(realm->id); before != by_id.end()) ids_by_name.erase(before->second->name);
    had_realms = true;
    by_id[realm->id] = realm;
    ids_by_name[realm->name] = realm->id;
  }

  void write_touched() {
    std::vector<std::pair<std::string, int64_t>> batch;
    {
      std::lock_guard lock(touched_mutex);
      batch.assign(touched.begin(), touched.end());
      touched.clear();
    }
    if (batch.empty()) return;
    if (auto done = storage->touch_keys(batch); !done) log().warn("last use of keys: {}", done.error().message);
    std::unique_lock lock(mutex);
    for (const auto& [id, unix_s] : batch) {
      if (const auto found = keys.find(id); found != keys.end()) found->second.key.last_used_unix_s = unix_s;
    }
  }

  void write_behind() {
    if (auto done = meter->flush(); !done) log().warn("usage: {}", done.error().message);
    write_touched();
  }

  void follow_others() {
    std::lock_guard lock(changing);
    const auto changed = storage->changed_elsewhere();
    if (!changed || !*changed) return;
    if (auto done = reload(); !done) log().warn("realms and keys: {}", done.error().message);
  }

  void run() {
    std::unique_lock lock(stop_mutex);
    while (!stop_changed.wait_for(lock, background_period, [this] { return stopping; })) {
      lock.unlock();
      write_behind();
      follow_others();
      lock.lock();
    }
  }
};

Tenants::Tenants(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Tenants>> Tenants::open(const TenantsOptions& options) {
  std::error_code error;
  const mode_t before = umask(0077);
  std::filesystem::create_directories(options.folder, error);
  umask(before);
  if (error) return fail(ErrorCode::io, "data folder " + options.folder.string() + ": " + error.message() + "; choose another with --data");
  auto impl = std::make_unique<Impl>(options);
  auto storage = open_sqlite_storage(options.folder / "realm.db");
  if (!storage) return fail(std::move(storage));
  impl->storage = std::move(*storage);
  impl->meter = std::make_unique<UsageMeter>(*impl->storage);
  impl->programs.emplace(*impl->storage, options.clock, impl->changing);
  if (auto loaded = impl->reload(); !loaded) return fail(std::move(loaded));
  impl->background = start_thread("tenants", [&impl = *impl] { impl.run(); });
  return std::unique_ptr<Tenants>(new Tenants(std::move(impl)));
}

Tenants::~Tenants() {
  {
    std::lock_guard lock(impl_->stop_mutex);
    impl_->stopping = true;
  }
  impl_->stop_changed.notify_all();
  impl_->background.join();
  impl_->write_behind();
}

Result<RealmPointer> Tenants::create_realm(Realm draft) {
  if (auto valid = check(draft); !valid) return fail(std::move(valid));
  std::lock_guard lock(impl_->changing);
  if (impl_->find(draft.name)) return fail(ErrorCode::already_exists, "realm " + draft.name + " exists already");
  if (realms().size() >= impl_->options.realms_max) {
    return fail(ErrorCode::resource_exhausted, "realms_max: there are " + std::to_string(impl_->options.realms_max) + " realms already");
  }
  draft.id = make_id("rl_");
  draft.created_unix_s = impl_->now();
  draft.revision = 1;
  if (auto done = impl_->storage->create_realm(draft); !done) {
    // Another process may have made it a moment ago.
    return fail(done.error().code,
                done.error().code == ErrorCode::already_exists ? "realm " + draft.name + " exists already" : done.error().message);
  }
  auto realm = std::make_shared<const Realm>(std::move(draft));
  impl_->put(realm);
  return realm;
}

Result<RealmPointer> Tenants::realm(std::string_view name) const { return impl_->require(name); }

std::vector<RealmPointer> Tenants::realms() const {
  std::shared_lock lock(impl_->mutex);
  std::vector<RealmPointer> all;
  all.reserve(impl_->by_id.size());
  for (const auto& [name, id] : impl_->ids_by_name) all.push_back(impl_->by_id.at(id));
  return all;
}

Result<RealmPointer> Tenants::update_realm(std::string_view name, const std::function<Result<void>(Realm&)>& change) {
  std::lock_guard lock(impl_->changing);
  const auto before = impl_->require(name);
  if (!before) return before;
  Realm changed = **before;
  if (auto done = change(changed); !done) return fail(std::move(done));
  if (auto valid = check(changed); !valid) return fail(std::move(valid));
  if (changed.name != (*before)->name && impl_->find(changed.name))
    return fail(ErrorCode::already_exists, "realm " + changed.name + " exists already");
  changed.id = (*before)->id;
  changed.created_unix_s = (*before)->created_unix_s;
  changed.revision = (*before)->revision + 1;
  if (auto done = impl_->storage->update_realm(changed); !done) return fail(std::move(done));
  auto realm = std::make_shared<const Realm>(std::move(changed));
  impl_->put(realm);
  return realm;
}

Result<void> Tenants::delete_realm(std::string_view name) {
  std::lock_guard changing(impl_->changing);
  const auto realm = impl_->require(name);
  if (!realm) return fail(realm.error().code, realm.error().message);
  if (auto done = impl_->storage->delete_realm((*realm)->id); !done) return done;
  {
    std::unique_lock lock(impl_->mutex);
    impl_->by_id.erase((*realm)->id);
    impl_->ids_by_name.erase((*realm)->name);
    std::erase_if(impl_->keys, [&](const auto& entry) { return entry.second.key.realm_id == (*realm)->id; });
  }
  impl_->forget((*realm)->id);
  return {};
}

bool Tenants::had_realms() const { return impl_->had_realms.load(); }

Result<NewKey> Tenants::create_key(std::string_view realm, uint32_t scopes, std::string label, int64_t expires_unix_s) {
  if (scopes == 0 || scopes > (scope_inference | scope_admin)) return fail(ErrorCode::invalid_argument, "scopes: inference, admin or both");
  const auto characters = std::count_if(label.begin(), label.end(), [](char c) { return (c & 0xc0) != 0x80; });
  if (static_cast<size_t>(characters) > label_characters_max ||
      std::any_of(label.begin(), label.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
    return fail(ErrorCode::invalid_argument, "label: at most 128 characters, without control characters");
  }
  if (realm.empty() && (scopes & scope_inference) != 0) {
    return fail(ErrorCode::invalid_argument, "scopes: a key for inference belongs to a realm; give its name");
  }
  if (expires_unix_s != 0 && expires_unix_s <= impl_->now()) return fail(ErrorCode::invalid_argument, "expiry: must be in the future");
  std::lock_guard changing(impl_->changing);
  StoredKey stored;
  if (!realm.empty()) {
    const auto owner = impl_->require(realm);
    if (!owner) return std::unexpected(owner.error());
    stored.key.realm_id = (*owner)->id;
  }
  if (keys(realm)->size() >= impl_->options.keys_of_realm_max) {
    return fail(ErrorCode::resource_exhausted,
                "keys_of_realm_max: the realm has " + std::to_string(impl_->options.keys_of_realm_max) + " keys already");
  }
  const KeyText made = make_key_text();
  stored.key.id = made.id;
  stored.key.scopes = scopes;
  stored.key.label = std::move(label);
  stored.key.created_unix_s = impl_->now();
  stored.key.expires_unix_s = expires_unix_s;
  stored.secret_sha256 = secret_sha256(made.secret);
  if (auto done = impl_->storage->create_key(stored); !done) return fail(std::move(done));
  NewKey created{stored.key, made.text()};
  std::unique_lock lock(impl_->mutex);
  impl_->keys.emplace(made.id, std::move(stored));
  return created;
}

Result<std::vector<Key>> Tenants::keys(std::string_view realm) const {
  std::string realm_id;
  if (!realm.empty()) {
    const auto owner = impl_->require(realm);
    if (!owner) return std::unexpected(owner.error());
    realm_id = (*owner)->id;
  }
  std::vector<Key> found;
  std::shared_lock lock(impl_->mutex);
  for (const auto& [id, stored] : impl_->keys) {
    if (stored.key.realm_id == realm_id) found.push_back(stored.key);
  }
  std::sort(found.begin(), found.end(),
            [](const Key& a, const Key& b) { return std::tie(a.created_unix_s, a.id) < std::tie(b.created_unix_s, b.id); });
  return found;
}

bool Tenants::has_operator_keys() const {
  std::shared_lock lock(impl_->mutex);
  return std::any_of(impl_->keys.begin(), impl_->keys.end(),
                     [](const auto& entry) { return (entry.second.key.scopes & scope_admin) != 0; });
}

Result<Key> Tenants::revoke_key(std::string_view id) {
  // The whole key is accepted too, so that a leaked one can be revoked by pasting it.
  const auto parsed = parse_key_text(id);
  const std::string key_id = parsed ? parsed->id : std::string(id);
  std::lock_guard changing(impl_->changing);
  Key key;
  {
    std::shared_lock lock(impl_->mutex);
    const auto found = impl_->keys.find(key_id);
    if (found == impl_->keys.end()) return fail(ErrorCode::not_found, "there is no such key (realm keys list REALM)");
    key = found->second.key;
  }
  if (key.revoked_unix_s != 0) return key;
  key.revoked_unix_s = impl_->now();
  if (auto done = impl_->storage->revoke_key(key_id, key.revoked_unix_s); !done) return fail(std::move(done));
  std::unique_lock lock(impl_->mutex);
  if (const auto found = impl_->keys.find(key_id); found != impl_->keys.end()) found->second.key.revoked_unix_s = key.revoked_unix_s;
  return key;
}

Result<Identity> Tenants::authenticate(std::string_view key_text) {
  impl_->authentications.fetch_add(1, std::memory_order_relaxed);
  const auto refuse = [this](const char* why) {
    impl_->refused.fetch_add(1, std::memory_order_relaxed);
    return fail(ErrorCode::permission_denied, why);
  };
  const auto parsed = parse_key_text(key_text);
  if (!parsed) return refuse(bad_key);
  const std::string hash = secret_sha256(parsed->secret);
  Identity identity;
  {
    std::shared_lock lock(impl_->mutex);
    const auto found = impl_->keys.find(parsed->id);
    static const std::string nothing(64, '0');
    const bool equal = equal_in_constant_time(hash, found == impl_->keys.end() ? nothing : found->second.secret_sha256);
    if (found == impl_->keys.end() || !equal || found->second.key.revoked_unix_s != 0) return refuse(bad_key);
    const Key& key = found->second.key;
    if (key.expires_unix_s != 0 && key.expires_unix_s <= impl_->now())
      return refuse("this API key has expired; ask the operator for a new one");
    identity.scopes = key.scopes;
    if (!key.realm_id.empty()) {
      const auto realm = impl_->by_id.find(key.realm_id);
      if (realm == impl_->by_id.end()) return refuse(bad_key);
      identity.realm = realm->second;
    }
  }
  identity.key_id = parsed->id;
  std::lock_guard lock(impl_->touched_mutex);
  impl_->touched[identity.key_id] = impl_->now();
  return identity;
}

std::expected<RateLimiter::Admission, RateRefusal> Tenants::admit(const Realm& realm, uint64_t estimated_tokens) {
  return impl_->limiter.admit(realm, estimated_tokens, [this](const std::string& realm_id, int64_t first_day, int64_t last_day) {
    uint64_t tokens = 0;
    const auto rows = impl_->meter->query({.realm_id = realm_id, .first_day = first_day, .last_day = last_day});
    if (!rows) log().warn("token budget: {}", rows.error().message);
    if (rows) {
      for (const Usage& row : *rows) tokens += row.prompt_tokens + row.completion_tokens;
    }
    return tokens;
  });
}

Programs& Tenants::programs() { return *impl_->programs; }

ValueStorage& Tenants::values() { return *impl_->storage; }

void Tenants::record(Usage counts) { impl_->meter->add(std::move(counts), impl_->now()); }

Result<std::vector<Usage>> Tenants::usage(const UsageQuery& query) { return impl_->meter->query(query); }

void Tenants::on_realm_gone(std::function<void(const std::string&)> callback) {
  std::lock_guard lock(impl_->changing);
  impl_->realm_gone = std::move(callback);
}

Tenants::Stats Tenants::stats() const {
  Stats stats{.authentications = impl_->authentications.load(),
              .authentications_refused = impl_->refused.load(),
              .realms = 0,
              .usage = impl_->meter->stats()};
  std::shared_lock lock(impl_->mutex);
  stats.realms = static_cast<uint32_t>(impl_->by_id.size());
  return stats;
}

}  // namespace realm::tenants
