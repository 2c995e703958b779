#include "tenants/programs.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "tenants/tenants.h"

namespace realm::tenants {
namespace {

uint64_t limit_of(uint64_t set, uint64_t otherwise) { return set > 0 ? set : otherwise; }

uint64_t stored_bytes(const StoredProgram& program) {
  uint64_t bytes = 0;
  for (const ProgramVersion& version : program.versions) bytes += version.bytes;
  return bytes;
}

std::unexpected<Error> no_such_program() { return fail(ErrorCode::not_found, "there is no such program"); }

}  // namespace

std::vector<ProgramPointer> Programs::list(std::string_view realm_id) const {
  std::shared_lock lock(mutex_);
  std::vector<ProgramPointer> all;
  if (const auto found = realms_.find(realm_id); found != realms_.end()) {
    for (const auto& [name, program] : found->second) all.push_back(program);
  }
  return all;
}

ProgramPointer Programs::find(std::string_view realm_id, std::string_view name) const {
  std::shared_lock lock(mutex_);
  const auto realm = realms_.find(realm_id);
  if (realm == realms_.end()) return nullptr;
  const auto program = realm->second.find(name);
  return program == realm->second.end() ? nullptr : program->second;
}

Result<void> Programs::check_room(const Realm& realm, std::string_view name, uint64_t bytes) const {
  if (!is_name(name)) return fail(ErrorCode::invalid_argument, "program name: 1 to 128 letters, digits, '.', '_' or '-'");
  std::shared_lock lock(mutex_);
  return check_room_of(realm, name, bytes);
}

Result<void> Programs::check_room_of(const Realm& realm, std::string_view name, uint64_t bytes) const {
  const uint64_t stored_max = limit_of(realm.limits.program_stored_bytes_max, program_stored_bytes_default_max);
  const uint64_t programs_max = limit_of(realm.limits.programs_max, programs_default_max);
  const auto found = realms_.find(realm.id);
  uint64_t stored = 0;
  bool is_new = true;
  size_t programs = 0;
  if (found != realms_.end()) {
    programs = found->second.size();
    is_new = !found->second.contains(name);
    for (const auto& [other, program] : found->second) stored += stored_bytes(*program);
  }
  if (is_new && programs >= programs_max) {
    return fail(ErrorCode::too_large, "programs_max: the realm has " + std::to_string(programs) + " programs, at most " +
                                          std::to_string(programs_max) + "; delete one");
  }
  if (bytes > stored_max || stored > stored_max - bytes) {
    return fail(ErrorCode::too_large, "program_stored_bytes_max: the realm's programs have " + std::to_string(stored) + " of " +
                                          std::to_string(stored_max) + " bytes; delete some versions");
  }
  return {};
}

Result<ProgramPointer> Programs::put(const Realm& realm, std::string_view name, std::string_view module, std::string_view sha256,
                                     std::string_view manifest) {
  std::lock_guard changing(changing_);
  auto changed = std::make_shared<StoredProgram>();
  uint64_t revision = 0;
  bool had_version = false;
  {
    std::shared_lock lock(mutex_);
    if (const auto found = realms_.find(realm.id); found != realms_.end()) {
      for (const auto& [other, program] : found->second) revision = std::max(revision, program->live().revision);
      if (const auto before = found->second.find(name); before != found->second.end()) *changed = *before->second;
    }
    had_version = std::erase_if(changed->versions, [sha256](const ProgramVersion& one) { return one.sha256 == sha256; }) > 0;
    if (auto room = check_room_of(realm, name, had_version ? 0 : module.size()); !room) return fail(std::move(room));
  }
  changed->realm_id = realm.id;
  changed->name = name;
  changed->versions.push_back({.sha256 = std::string(sha256),
                               .bytes = module.size(),
                               .manifest = std::string(manifest),
                               .created_unix_s = clock_.unix_s(),
                               .revision = revision + 1});
  std::vector<std::string> dropped;
  while (changed->versions.size() > program_versions_max) {
    dropped.push_back(changed->versions.front().sha256);
    changed->versions.erase(changed->versions.begin());
  }
  if (auto done = storage_.put_program({realm.id, changed->name, changed->live()}, module, dropped); !done) {
    // What a program refers to is its realm alone.
    if (done.error().code == ErrorCode::already_exists) return fail(ErrorCode::not_found, "the realm is not there any more");
    return fail(std::move(done));
  }
  std::unique_lock lock(mutex_);
  realms_[realm.id][changed->name] = changed;
  return changed;
}

Result<void> Programs::remove(std::string_view realm_id, std::string_view name, std::string_view sha256) {
  std::lock_guard changing(changing_);
  const ProgramPointer before = find(realm_id, name);
  if (!before) return no_such_program();
  auto changed = std::make_shared<StoredProgram>(*before);
  if (sha256.empty()) changed->versions.clear();
  std::erase_if(changed->versions, [sha256](const ProgramVersion& one) { return one.sha256 == sha256; });
  if (changed->versions.size() == before->versions.size()) return fail(ErrorCode::not_found, "the program has no such version");
  if (auto done = storage_.delete_program(realm_id, name, sha256); !done) return done;
  std::unique_lock lock(mutex_);
  const auto realm = realms_.find(realm_id);
  if (realm == realms_.end()) return {};
  if (changed->versions.empty()) {
    realm->second.erase(before->name);
  } else {
    realm->second[before->name] = changed;
  }
  return {};
}

Result<std::string> Programs::module(std::string_view realm_id, std::string_view sha256) const { return storage_.module(realm_id, sha256); }

Programs::Stats Programs::stats() const {
  std::shared_lock lock(mutex_);
  Stats stats;
  for (const auto& [realm_id, programs] : realms_) {
    stats.programs += programs.size();
    for (const auto& [name, program] : programs) stats.bytes += stored_bytes(*program);
  }
  return stats;
}

void Programs::replace(std::vector<ProgramRow> rows) {
  std::map<std::string, OfRealm, std::less<>> realms;
  std::shared_ptr<StoredProgram> program;
  for (ProgramRow& row : rows) {
    if (!program || program->realm_id != row.realm_id || program->name != row.name) {
      program = std::make_shared<StoredProgram>(StoredProgram{row.realm_id, row.name, {}});
      realms[row.realm_id][row.name] = program;
    }
    program->versions.push_back(std::move(row.version));
  }
  std::unique_lock lock(mutex_);
  realms_.swap(realms);
}

void Programs::forget(std::string_view realm_id) {
  std::unique_lock lock(mutex_);
  if (const auto found = realms_.find(realm_id); found != realms_.end()) realms_.erase(found);
}

}  // namespace realm::tenants
