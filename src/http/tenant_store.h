// The durable stores of realms over the tenants' storage. One thread reads and writes, so that no worker waits for a disk; puts that come
// together become durable together.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/durable_store.h"
#include "tenants/storage.h"

namespace realm::http {

constexpr size_t store_calls_max = 4'096;                  // that wait
constexpr uint64_t store_waiting_bytes_max = 64ull << 20;  // of the values in them

class TenantStore final : public runtime::DurableStore {
 public:
  explicit TenantStore(tenants::ValueStorage& storage);  // outlives it
  ~TenantStore() override;                               // answers what waits first
  TenantStore(const TenantStore&) = delete;
  TenantStore& operator=(const TenantStore&) = delete;

  void get(std::string tenant_id, std::string key, Done<std::string> done) override;
  void put(std::string tenant_id, std::string key, std::string value, uint64_t bytes_max, Done<void> done) override;
  void list(std::string tenant_id, std::string prefix, Done<std::vector<std::string>> done) override;

  struct Stats {
    uint64_t reads = 0;
    uint64_t puts = 0;
    uint64_t puts_refused = 0;  // beyond a realm's bytes
    uint64_t turned_away = 0;   // too much waited
    uint64_t failures = 0;      // of the storage
  };
  Stats stats() const;

 private:
  struct Put {
    tenants::ValueRow row;
    Done<void> done;
  };
  void run();
  bool take_on(uint64_t bytes);  // with mutex_ held: is there room for a call?
  void write(std::vector<Put> puts);

  tenants::ValueStorage& storage_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Put> puts_;                     // guarded, likewise below
  std::vector<std::function<bool()>> reads_;  // each answers its caller; false: the storage failed
  uint64_t waiting_bytes_ = 0;
  bool stopping_ = false;
  Stats stats_;
  std::thread thread_;
};

}  // namespace realm::http
