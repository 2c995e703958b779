// The programs that realms uploaded. What a request needs to know of them is in memory; their modules are in the storage alone.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tenants/rate_limiter.h"
#include "tenants/storage.h"
#include "tenants/types.h"

namespace realm::tenants {

// Of one program: with one more, the oldest goes.
constexpr size_t program_versions_max = 8;

using ProgramPointer = std::shared_ptr<const StoredProgram>;

// All of it: any thread.
class Programs {
 public:
  // Both outlive it. `changing` is held while a change is made, storage first, then memory.
  Programs(Storage& storage, const Clock& clock, std::mutex& changing) : storage_(storage), clock_(clock), changing_(changing) {}

  std::vector<ProgramPointer> list(std::string_view realm_id) const;            // by name
  ProgramPointer find(std::string_view realm_id, std::string_view name) const;  // null: there is none

  // May a module of so many bytes be uploaded? Before the work of compiling it; put() asks again.
  Result<void> check_room(const Realm& realm, std::string_view name, uint64_t bytes) const;
  // The module becomes the live version of `name`. An earlier version with the same hash is replaced.
  Result<ProgramPointer> put(const Realm& realm, std::string_view name, std::string_view module, std::string_view sha256,
                             std::string_view manifest);
  // An empty version: all of them. With its last version a program is gone.
  Result<void> remove(std::string_view realm_id, std::string_view name, std::string_view sha256);
  Result<std::string> module(std::string_view realm_id, std::string_view sha256) const;

  struct Stats {
    uint64_t programs = 0;
    uint64_t bytes = 0;
  };
  Stats stats() const;

  // The owner's side, with `changing` held.
  void replace(std::vector<ProgramRow> rows);
  void forget(std::string_view realm_id);

 private:
  using OfRealm = std::map<std::string, ProgramPointer, std::less<>>;
  Result<void> check_room_of(const Realm& realm, std::string_view name, uint64_t bytes) const;  // with mutex_ held

  Storage& storage_;
  const Clock clock_;
  std::mutex& changing_;
  mutable std::shared_mutex mutex_;
  std::map<std::string, OfRealm, std::less<>> realms_;  // guarded
};

}  // namespace realm::tenants
