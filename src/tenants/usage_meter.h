// Counts what realms use and writes it in batches. Not an exact ledger: what was counted since the last write is lost with the process.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "tenants/storage.h"

namespace realm::tenants {

constexpr size_t unwritten_rows_max = 100'000;  // realms times models times keys; more are dropped and counted

class UsageMeter {
 public:
  // `storage` outlives this.
  explicit UsageMeter(Storage& storage) : storage_(storage) {}

  // Adds to its row; `day` is set here. Any thread, no disk.
  void add(Usage counts, int64_t unix_s);
  // Any thread. What could not be written is kept for the next time.
  Result<void> flush();
  // What is stored and what is not yet, together.
  Result<std::vector<Usage>> query(const UsageQuery& query);

  struct Stats {
    uint64_t rows_written = 0;
    uint64_t failures = 0;
    uint64_t dropped = 0;
  };
  Stats stats() const;

 private:
  using Place = std::tuple<std::string, int64_t, std::string, std::string>;  // realm id, day, model, key
  static Place place_of(const Usage& row) { return {row.realm_id, row.day, row.model, row.key_id}; }
  void put(Usage row);  // with mutex_ held

  Storage& storage_;
  std::mutex writing_;  // one flush or query at a time, so that no row is seen twice or not at all
  mutable std::mutex mutex_;
  std::map<Place, Usage> rows_;  // guarded, likewise below
  Stats stats_;
};

}  // namespace realm::tenants
