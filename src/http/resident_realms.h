// The realms that are open in the runtime right now: those with live requests, and as many idle ones (with their cached prefixes) as
// fit. An idle one makes room for another.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "runtime/runtime.h"

namespace realm::http {

class ResidentRealms {
 public:
  // `runtime` outlives this. `realms_max`: at least 1.
  ResidentRealms(runtime::Runtime& runtime, uint32_t realms_max) : runtime_(runtime), realms_max_(realms_max) {}
  ~ResidentRealms();  // cancels what runs and waits for it
  ResidentRealms(const ResidentRealms&) = delete;
  ResidentRealms& operator=(const ResidentRealms&) = delete;

  // Keeps a realm from being closed for as long as it lives. Movable, any thread.
  class Use {
   public:
    Use() = default;
    Use(Use&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), entry_(std::move(other.entry_)) {}
    Use& operator=(Use&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(entry_, other.entry_);
      return *this;
    }
    ~Use();
    const runtime::RealmHandle& realm() const;

    struct Entry;  // internal

   private:
    friend class ResidentRealms;
    Use(ResidentRealms& owner, std::shared_ptr<Entry> entry) : owner_(&owner), entry_(std::move(entry)) {}
    ResidentRealms* owner_ = nullptr;
    std::shared_ptr<Entry> entry_;
  };

  // `revision` changes whenever the limits do: requests that run keep the old ones, new requests get the new ones, and the realm's
  // cached prefixes are computed anew. Fails with unavailable when realms_max realms have live requests. Any thread.
  Result<Use> use(const std::string& id, uint64_t revision, const runtime::RealmLimits& limits);

  // The realm is gone: its requests are cancelled, its prefixes forgotten. Any thread.
  void close(const std::string& id);

  struct Stats {
    uint32_t resident = 0;
    uint32_t realms_max = 0;
    uint64_t evictions = 0;
    uint64_t refusals = 0;
  };
  Stats stats() const;

 private:
  void release(const std::shared_ptr<Use::Entry>& entry);

  runtime::Runtime& runtime_;
  const uint32_t realms_max_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Use::Entry>, std::less<>> entries_;  // guarded, likewise below
  std::list<std::shared_ptr<Use::Entry>> idle_;                              // least recently used first
  uint32_t retired_ = 0;                                                     // of an old revision, with live requests
  uint64_t uses_ = 0;
  std::condition_variable unused_;
  uint64_t evictions_ = 0;
  uint64_t refusals_ = 0;
};

}  // namespace realm::http
