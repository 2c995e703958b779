#include "tenants/usage_meter.h"

#include <utility>

namespace realm::tenants {

void UsageMeter::put(Usage row) {
  const auto found = rows_.find(place_of(row));
  if (found != rows_.end()) {
    found->second.add(row);
    found->second.realm = std::move(row.realm);
  } else if (rows_.size() < unwritten_rows_max) {
    rows_.emplace(place_of(row), std::move(row));
  } else {
    ++stats_.dropped;
  }
}

void UsageMeter::add(Usage counts, int64_t unix_s) {
  counts.day = unix_s / 86'400;
  std::lock_guard lock(mutex_);
  put(std::move(counts));
}

Result<void> UsageMeter::flush() {
  std::lock_guard writing(writing_);
  std::vector<Usage> batch;
  {
    std::lock_guard lock(mutex_);
    batch.reserve(rows_.size());
    for (auto& [place, row] : rows_) batch.push_back(std::move(row));
    rows_.clear();
  }
  if (batch.empty()) return {};
  auto written = storage_.add_usage(batch);
  std::lock_guard lock(mutex_);
  if (written) {
    stats_.rows_written += batch.size();
  } else {
    ++stats_.failures;
    for (Usage& row : batch) put(std::move(row));
  }
  return written;
}

Result<std::vector<Usage>> UsageMeter::query(const UsageQuery& query) {
  std::lock_guard writing(writing_);
  auto stored = storage_.usage(query);
  if (!stored) return stored;
  std::map<Place, size_t> places;
  for (size_t i = 0; i < stored->size(); ++i) places.emplace(place_of((*stored)[i]), i);
  std::lock_guard lock(mutex_);
  for (const auto& [place, row] : rows_) {
    if (!query.realm_id.empty() && row.realm_id != query.realm_id) continue;
    if (row.day < query.first_day || row.day > query.last_day) continue;
    if (const auto found = places.find(place); found != places.end()) {
      (*stored)[found->second].add(row);
    } else {
      stored->push_back(row);
    }
  }
  return stored;
}

UsageMeter::Stats UsageMeter::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace realm::tenants
