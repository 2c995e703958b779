#include "http/resident_realms.h"

#include <utility>

namespace realm::http {

struct ResidentRealms::Use::Entry {
  std::string id;
  uint64_t revision = 0;
  runtime::RealmHandle handle;
  uint32_t uses = 0;
  bool retired = false;  // no longer in entries_: closed with its last use
  std::list<std::shared_ptr<Entry>>::iterator idle_place;
};

using Entry = ResidentRealms::Use::Entry;

ResidentRealms::~ResidentRealms() {
  std::unique_lock lock(mutex_);
  for (auto& [id, entry] : entries_) runtime_.close_realm(entry->handle);
  unused_.wait(lock, [this] { return uses_ == 0; });
}

ResidentRealms::Use::~Use() {
  if (owner_ != nullptr) owner_->release(entry_);
}

const runtime::RealmHandle& ResidentRealms::Use::realm() const { return entry_->handle; }

Result<ResidentRealms::Use> ResidentRealms::use(const std::string& id, uint64_t revision, const runtime::RealmLimits& limits) {
  std::lock_guard lock(mutex_);
  if (const auto found = entries_.find(id); found != entries_.end()) {
    const std::shared_ptr<Entry> entry = found->second;
    if (entry->revision == revision) {
      if (entry->uses++ == 0) idle_.erase(entry->idle_place);
      ++uses_;
      return Use(*this, entry);
    }
    entries_.erase(found);
    if (entry->uses == 0) {
      idle_.erase(entry->idle_place);
      runtime_.close_realm(entry->handle);
    } else {
      entry->retired = true;
      ++retired_;
    }
  }
  if (entries_.size() + retired_ >= realms_max_) {
    if (idle_.empty()) {
      ++refusals_;
      return fail(ErrorCode::unavailable,
                  "all " + std::to_string(realms_max_) + " realms that may be resident at once are busy (--max-realms)");
    }
    const auto oldest = idle_.front();
    idle_.pop_front();
    entries_.erase(oldest->id);
    runtime_.close_realm(oldest->handle);
    ++evictions_;
  }
  // Two revisions of a realm may be open side by side for a while, and the runtime wants names of their own.
  auto handle = runtime_.create_realm(id + "." + std::to_string(revision), limits);
  if (!handle) return fail(std::move(handle));
  auto entry = std::make_shared<Entry>();
  entry->id = id;
  entry->revision = revision;
  entry->handle = std::move(*handle);
  entry->uses = 1;
  entries_.emplace(id, entry);
  ++uses_;
  return Use(*this, std::move(entry));
}

void ResidentRealms::release(const std::shared_ptr<Entry>& entry) {
  std::lock_guard lock(mutex_);
  if (--uses_ == 0) unused_.notify_all();
  if (--entry->uses > 0) return;
  if (entry->retired) {
    --retired_;
    runtime_.close_realm(entry->handle);
  } else {
    entry->idle_place = idle_.insert(idle_.end(), entry);
  }
}

void ResidentRealms::close(const std::string& id) {
  std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  const auto entry = found->second;
  entries_.erase(found);
  if (entry->uses == 0) {
    idle_.erase(entry->idle_place);
  } else {
    entry->retired = true;
    ++retired_;
  }
  runtime_.close_realm(entry->handle);
}

ResidentRealms::Stats ResidentRealms::stats() const {
  std::lock_guard lock(mutex_);
  return {.resident = static_cast<uint32_t>(entries_.size()) + retired_,
          .realms_max = realms_max_,
          .evictions = evictions_,
          .refusals = refusals_};
}

}  // namespace realm::http
