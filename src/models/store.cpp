#include "models/store.h"

#include <algorithm>
#include <fstream>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread_name.h"

namespace realm::models {
namespace {

constexpr double budget_share = 0.8;

std::string mebibytes(uint64_t bytes) { return std::to_string((bytes + (1u << 20) - 1) >> 20) + " MiB"; }

}  // namespace

uint64_t default_budget_bytes() { return static_cast<uint64_t>(static_cast<double>(memory_limit_bytes()) * budget_share); }

struct ModelStore::Entry {
  struct Waiter {
    Leased leased;
    int64_t deadline_ns;
  };
  ModelRecord record;
  std::shared_ptr<void> model;  // null: not loaded
  uint64_t bytes = 0;
  uint32_t leases = 0;
  int64_t used_ns = 0;
  bool queued = false;  // in the queue, or being loaded
  bool loading = false;
  std::list<Waiter> waiters;
  std::string fault;
  ErrorCode fault_code = ErrorCode::io;
  int64_t retry_ns = 0;
  std::atomic<bool> given_up{false};
};

struct ModelStore::Shared {
  std::mutex mutex;
  std::condition_variable changed;
  bool stopping = false;                                               // guarded, likewise below
  std::map<std::string, std::shared_ptr<Entry>, std::less<>> entries;  // by file and hash, so that a replaced file is another model
  std::list<std::string> queue;
  StoreStats stats;
};

namespace {

std::string key_of(const ModelRecord& record) { return record.name + "\n" + record.sha256; }

}  // namespace

ModelStore::ModelStore(const Catalogue& catalogue, ModelLoader& loader, const StoreOptions& options)
    : catalogue_(catalogue), loader_(loader), options_(options), shared_(std::make_shared<Shared>()) {
  shared_->stats.budget_bytes = options.budget_bytes > 0 ? options.budget_bytes : default_budget_bytes();
  thread_ = start_thread("models", [this] { run(); });
  deadlines_ = start_thread("model-deadlines", [this] { run_deadlines(); });
}

ModelStore::~ModelStore() {
  {
    std::lock_guard lock(shared_->mutex);
    shared_->stopping = true;
    for (auto& [key, entry] : shared_->entries) entry->given_up = true;
  }
  shared_->changed.notify_all();
  thread_.join();
  deadlines_.join();
  std::unique_lock lock(shared_->mutex);
  for (auto& [key, entry] : shared_->entries) answer(lock, *entry, {ErrorCode::unavailable, "the server is shutting down"});
}

// Tells everybody who waits for the entry. Lets the lock go meanwhile.
void ModelStore::answer(std::unique_lock<std::mutex>& lock, Entry& entry, const Error& error) {
  std::list<Entry::Waiter> waiters;
  waiters.swap(entry.waiters);
  shared_->stats.waiting -= static_cast<uint32_t>(waiters.size());
  lock.unlock();
  for (auto& waiter : waiters) waiter.leased(std::unexpected(error));
  lock.lock();
}

namespace {

// Counts down when the last copy of a lease is gone.
template <class Shared, class Entry>
std::shared_ptr<void> make_lease(const std::shared_ptr<Shared>& shared, const std::shared_ptr<Entry>& entry) {
  ++entry->leases;
  entry->used_ns = monotonic_ns();
  auto held = std::shared_ptr<void>(nullptr, [shared, entry](void*) {
    std::lock_guard lock(shared->mutex);
    --entry->leases;
    entry->used_ns = monotonic_ns();
    shared->changed.notify_all();
  });
  // The model itself is pointed at; what is counted is `held`.
  return std::shared_ptr<void>(held, entry->model.get());
}

}  // namespace

void ModelStore::lease(std::string_view name, std::string_view tenant_id, Leased leased) {
  auto record = name.empty() ? catalogue_.only_one(tenant_id) : catalogue_.find(name, tenant_id);
  if (!record) return leased(fail(std::move(record)));
  const std::string key = key_of(*record);
  std::unique_lock lock(shared_->mutex);
  auto& entry = shared_->entries[key];
  if (!entry) entry = std::make_shared<Entry>();
  entry->record = std::move(*record);
  if (entry->model) {
    Lease ready = make_lease(shared_, entry);
    lock.unlock();
    return leased(std::move(ready));
  }
  const int64_t now_ns = monotonic_ns();
  Error refusal{ErrorCode::unavailable, ""};
  if (!entry->fault.empty() && now_ns < entry->retry_ns) refusal = {entry->fault_code, entry->fault};
  if (shared_->stats.waiting >= options_.waiters_max)
    refusal.message = "too many requests wait for models (" + std::to_string(options_.waiters_max) + ")";
  if (shared_->stopping) refusal.message = "the server is shutting down";
  if (!refusal.message.empty()) {
    lock.unlock();
    return leased(std::unexpected(std::move(refusal)));
  }
  entry->waiters.push_back({std::move(leased), now_ns + int64_t{options_.lease_deadline_ms} * 1'000'000});
  entry->given_up = false;
  ++shared_->stats.waiting;
  if (!std::exchange(entry->queued, true)) shared_->queue.push_back(key);
  lock.unlock();
  shared_->changed.notify_all();
}

void ModelStore::run() {
  std::unique_lock lock(shared_->mutex);
  while (true) {
    shared_->changed.wait(lock, [this] { return shared_->stopping || !shared_->queue.empty(); });
    if (shared_->stopping) return;
    const std::string key = shared_->queue.front();
    shared_->queue.pop_front();
    load(lock, key);
  }
}

// Drops idle models until the bytes fit. False when nobody waits for the wanted one any more, or the store stops.
bool ModelStore::make_room(std::unique_lock<std::mutex>& lock, Entry& wanted, uint64_t bytes) {
  StoreStats& stats = shared_->stats;
  while (stats.used_bytes + bytes > stats.budget_bytes) {
    if (shared_->stopping || wanted.waiters.empty()) return false;
    std::shared_ptr<Entry> oldest;
    for (const auto& [key, entry] : shared_->entries) {
      const bool idle = entry->model && entry->leases == 0 && !entry->record.pinned;
      if (idle && (!oldest || entry->used_ns < oldest->used_ns)) oldest = entry;
    }
    if (!oldest) {
      shared_->changed.wait(lock);  // for a lease that ends, or a deadline
      continue;
    }
    std::shared_ptr<void> dropped = std::move(oldest->model);
    oldest->model.reset();
    stats.used_bytes -= std::exchange(oldest->bytes, 0);
    --stats.models_loaded;
    ++stats.evictions;
    log().info("model {} makes room", oldest->record.name);
    lock.unlock();
    dropped.reset();
    lock.lock();
  }
  return !shared_->stopping && !wanted.waiters.empty();
}

void ModelStore::load(std::unique_lock<std::mutex>& lock, const std::string& key) {
  const std::shared_ptr<Entry> entry = shared_->entries.at(key);
  const ModelRecord record = entry->record;
  StoreStats& stats = shared_->stats;
  lock.unlock();
  const uint64_t estimate = loader_.estimate_bytes(record);
  lock.lock();
  const auto end = [&](const Error& error) {
    entry->queued = entry->loading = false;
    answer(lock, *entry, error);
  };
  if (estimate > stats.budget_bytes) {
    return end({ErrorCode::too_large,
                "model " + record.name + " needs " + mebibytes(estimate) + ", and --memory-budget is " + mebibytes(stats.budget_bytes)});
  }
  if (!make_room(lock, *entry, estimate)) return end({ErrorCode::unavailable, "nobody waits for the model any more"});
  stats.used_bytes += estimate;
  entry->loading = true;
  lock.unlock();
  const int64_t began_ns = monotonic_ns();
  auto loaded = loader_.load(record, entry->given_up);
  lock.lock();
  stats.load_ns += static_cast<uint64_t>(monotonic_ns() - began_ns);
  stats.used_bytes -= estimate;
  if (!loaded) {
    if (loaded.error().code != ErrorCode::cancelled) {
      ++stats.load_failures;
      entry->fault = loaded.error().message;
      entry->fault_code = loaded.error().code;
      entry->retry_ns = monotonic_ns() + int64_t{options_.retry_after_failure_ms} * 1'000'000;
    }
    return end(loaded.error());
  }
  ++stats.loads;
  ++stats.models_loaded;
  entry->model = std::move(loaded->model);
  entry->bytes = loaded->bytes;
  stats.used_bytes += loaded->bytes;
  entry->fault.clear();
  entry->queued = entry->loading = false;
  entry->used_ns = monotonic_ns();
  std::list<Entry::Waiter> waiters;
  waiters.swap(entry->waiters);
  stats.waiting -= static_cast<uint32_t>(waiters.size());
  std::vector<Lease> leases;
  for (size_t i = 0; i < waiters.size(); ++i) leases.push_back(make_lease(shared_, entry));
  lock.unlock();
  for (auto& waiter : waiters) {
    waiter.leased(std::move(leases.back()));
    leases.pop_back();
  }
  lock.lock();
}

// Tells those whose deadline has passed.
void ModelStore::run_deadlines() {
  std::unique_lock lock(shared_->mutex);
  while (!shared_->stopping) {
    const int64_t now_ns = monotonic_ns();
    int64_t next_ns = now_ns + 1'000'000'000;
    std::list<Entry::Waiter> late;
    for (auto& [key, entry] : shared_->entries) {
      for (auto waiter = entry->waiters.begin(); waiter != entry->waiters.end();) {
        const auto following = std::next(waiter);
        if (waiter->deadline_ns <= now_ns) {
          late.splice(late.end(), entry->waiters, waiter);
          --shared_->stats.waiting;
        } else {
          next_ns = std::min(next_ns, waiter->deadline_ns);
        }
        waiter = following;
      }
      if (entry->loading && entry->waiters.empty()) entry->given_up = true;
    }
    if (late.empty()) {
      shared_->changed.wait_for(lock, std::chrono::nanoseconds(next_ns - now_ns));
      continue;
    }
    lock.unlock();
    shared_->changed.notify_all();
    const std::string waited =
        "the model could not be loaded within " + std::to_string(options_.lease_deadline_ms) + " ms; others are in use";
    for (auto& waiter : late) waiter.leased(fail(ErrorCode::unavailable, waited));
    lock.lock();
  }
}

ModelState ModelStore::state(const ModelRecord& record) const {
  ModelState state;
  std::lock_guard lock(shared_->mutex);
  const auto found = shared_->entries.find(key_of(record));
  if (!record.fault.empty()) return {ModelState::failed, 0, record.fault, 0};
  if (found == shared_->entries.end()) return state;
  const Entry& entry = *found->second;
  state.leases = entry.leases;
  state.bytes = entry.bytes;
  if (entry.model) {
    state.kind = entry.leases > 0 ? ModelState::in_use : ModelState::ready;
  } else if (entry.queued) {
    state.kind = ModelState::loading;
  } else if (!entry.fault.empty()) {
    state.kind = ModelState::failed;
    state.fault = entry.fault;
  }
  return state;
}

StoreStats ModelStore::stats() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->stats;
}

}  // namespace realm::models
