// Which models are loaded: on first use, once for everybody who waits, within a budget of bytes.
//
// A model that is in use is never evicted. When there is no room, idle ones go, least recently used first; when everything is in use,
// the request waits for its deadline. What is loaded stays as it is when its file is replaced.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/result.h"
#include "models/catalogue.h"

namespace realm::models {

// What the store knows nothing of: how a file becomes a model.
class ModelLoader {
 public:
  virtual ~ModelLoader() = default;
  struct Loaded {
    std::shared_ptr<void> model;
    uint64_t bytes = 0;  // weights, KV and compute buffers
  };
  virtual uint64_t estimate_bytes(const ModelRecord& record) = 0;
  // On the store's thread. `given_up`: nobody waits any more.
  virtual Result<Loaded> load(const ModelRecord& record, const std::atomic<bool>& given_up) = 0;
};

struct StoreOptions {
  uint64_t budget_bytes = 0;                 // 0: default_budget_bytes()
  uint32_t lease_deadline_ms = 120'000;      // longest wait for a load
  uint32_t retry_after_failure_ms = 10'000;  // a model that could not be loaded is not tried again before
  uint32_t waiters_max = 4'096;              // requests that wait for models
};

// 80 % of the memory of the machine or of the container.
uint64_t default_budget_bytes();

struct StoreStats {
  uint64_t budget_bytes = 0;
  uint64_t used_bytes = 0;
  uint32_t models_loaded = 0;
  uint32_t waiting = 0;
  uint64_t loads = 0;
  uint64_t load_failures = 0;
  uint64_t evictions = 0;
  uint64_t load_ns = 0;
};

struct ModelState {
  enum Kind { absent, loading, ready, in_use, failed } kind = absent;
  uint32_t leases = 0;
  std::string fault;
  uint64_t bytes = 0;
};

class ModelStore {
 public:
  // A model, loaded for as long as the pointer lives.
  using Lease = std::shared_ptr<void>;
  using Leased = std::function<void(Result<Lease>)>;

  // `catalogue` and `loader` outlive the store.
  ModelStore(const Catalogue& catalogue, ModelLoader& loader, const StoreOptions& options);
  ~ModelStore();  // waits for a load that runs; who waits is told unavailable. Leases may outlive it
  ModelStore(const ModelStore&) = delete;
  ModelStore& operator=(const ModelStore&) = delete;

  // Calls `leased` once: at once when the model is loaded, else from a thread of the store's. Errors: not_found; whatever
  // loading fails with; too_large when it cannot fit the budget whatever is evicted; unavailable after the deadline. Any thread.
  void lease(std::string_view name, std::string_view tenant_id, Leased leased);

  ModelState state(const ModelRecord& record) const;
  StoreStats stats() const;

 private:
  struct Shared;
  struct Entry;
  void run();
  void run_deadlines();
  bool make_room(std::unique_lock<std::mutex>& lock, Entry& wanted, uint64_t bytes);
  void load(std::unique_lock<std::mutex>& lock, const std::string& name);
  void answer(std::unique_lock<std::mutex>& lock, Entry& entry, const Error& error);

  const Catalogue& catalogue_;
  ModelLoader& loader_;
  const StoreOptions options_;
  const std::shared_ptr<Shared> shared_;  // leases hold it too
  std::thread thread_;
  std::thread deadlines_;
};

}  // namespace realm::models
