#include "http/tenant_store.h"

#include <memory>
#include <utility>

#include "base/log.h"
#include "base/thread_name.h"

namespace realm::http {
namespace {

Error too_much_waits() { return {ErrorCode::unavailable, "the store has too much to do; try again later"}; }

}  // namespace

TenantStore::TenantStore(tenants::ValueStorage& storage) : storage_(storage), thread_(start_thread("store", [this] { run(); })) {}

TenantStore::~TenantStore() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool TenantStore::take_on(uint64_t bytes) {
  const bool room = puts_.size() + reads_.size() < store_calls_max && waiting_bytes_ + bytes <= store_waiting_bytes_max;
  room ? waiting_bytes_ += bytes : ++stats_.turned_away;
  return room;
}

void TenantStore::get(std::string tenant_id, std::string key, Done<std::string> done) {
  const auto call = std::make_shared<Done<std::string>>(std::move(done));
  {
    std::lock_guard lock(mutex_);
    if (take_on(0)) {
      reads_.emplace_back([this, tenant_id = std::move(tenant_id), key = std::move(key), call] {
        auto value = storage_.value(tenant_id, key);
        const bool failed = !value && value.error().code != ErrorCode::not_found;
        (*call)(failed ? Result<std::string>(fail(ErrorCode::unavailable, value.error().message)) : std::move(value));
        return !failed;
      });
      changed_.notify_one();
      return;
    }
  }
  (*call)(std::unexpected(too_much_waits()));
}

void TenantStore::list(std::string tenant_id, std::string prefix, Done<std::vector<std::string>> done) {
  const auto call = std::make_shared<Done<std::vector<std::string>>>(std::move(done));
  {
    std::lock_guard lock(mutex_);
    if (take_on(0)) {
      reads_.emplace_back([this, tenant_id = std::move(tenant_id), prefix = std::move(prefix), call] {
        auto keys = storage_.value_keys(tenant_id, prefix);
        const bool failed = !keys;
        (*call)(failed ? Result<std::vector<std::string>>(fail(ErrorCode::unavailable, keys.error().message)) : std::move(keys));
        return !failed;
      });
      changed_.notify_one();
      return;
    }
  }
  (*call)(std::unexpected(too_much_waits()));
}

void TenantStore::put(std::string tenant_id, std::string key, std::string value, uint64_t bytes_max, Done<void> done) {
  Put put{{std::move(tenant_id), std::move(key), std::move(value), bytes_max}, std::move(done)};
  {
    std::lock_guard lock(mutex_);
    if (take_on(put.row.value.size())) {
      puts_.push_back(std::move(put));
      changed_.notify_one();
      return;
    }
  }
  put.done(std::unexpected(too_much_waits()));
}

void TenantStore::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !puts_.empty() || !reads_.empty(); });
    if (puts_.empty() && reads_.empty()) return;
    auto puts = std::exchange(puts_, {});
    auto reads = std::exchange(reads_, {});
    stats_.reads += reads.size();
    stats_.puts += puts.size();
    lock.unlock();
    uint64_t failed = 0;
    for (const auto& read : reads) failed += read() ? 0 : 1;
    uint64_t bytes = 0;
    for (const Put& put : puts) bytes += put.row.value.size();
    if (!puts.empty()) write(std::move(puts));
    lock.lock();
    stats_.failures += failed;
    waiting_bytes_ -= bytes;
  }
}

void TenantStore::write(std::vector<Put> puts) {
  std::vector<tenants::ValueRow> rows;
  rows.reserve(puts.size());
  for (Put& put : puts) rows.push_back(std::move(put.row));
  const auto stored = storage_.put_values(rows);
  if (!stored) log().warn("store: {}", stored.error().message);
  uint64_t refused = 0;
  for (size_t i = 0; i < puts.size(); ++i) {
    if (!stored) {
      puts[i].done(fail(ErrorCode::unavailable, stored.error().message));
    } else if (!(*stored)[i]) {
      ++refused;
      puts[i].done(fail(ErrorCode::resource_exhausted,
                        "store_bytes_max: the realm's store would have more than " + std::to_string(rows[i].bytes_max) + " bytes"));
    } else {
      puts[i].done({});
    }
  }
  std::lock_guard lock(mutex_);
  stats_.puts_refused += refused;
  stats_.failures += stored ? 0 : puts.size();
}

TenantStore::Stats TenantStore::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace realm::http
