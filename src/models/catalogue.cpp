#include "models/catalogue.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <sstream>

#include "base/log.h"
#include "models/file_hash.h"
#include "models/file_name.h"
#include "models/validate_child.h"

namespace realm::models {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

constexpr const char* catalogue_file = "catalogue.json";

// The model's name, or nothing for what is no model or a later part of one.
std::string name_of(const fs::path& file) {
  if (file.extension() != ".gguf") return {};
  PartName part = part_name(file.stem().string());
  return part.part == 1 ? std::move(part.name) : std::string();
}

std::unexpected<Error> missing(std::string_view name) {
  return fail(ErrorCode::not_found, "there is no model named '" + std::string(name.substr(0, 128)) + "'");
}

bool is_for(const ModelRecord& record, std::string_view tenant_id) {
  return record.realm_ids.empty() || std::find(record.realm_ids.begin(), record.realm_ids.end(), tenant_id) != record.realm_ids.end();
}

template <class T>
T number(const json::object& object, const char* name) {
  const json::value* value = object.if_contains(name);
  boost::system::error_code error;
  const T found = value == nullptr ? T{} : value->to_number<T>(error);
  return error ? T{} : found;
}

std::string text(const json::object& object, const char* name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

}  // namespace

Result<std::unique_ptr<Catalogue>> Catalogue::open(const CatalogueOptions& options) {
  std::error_code error;
  fs::create_directories(options.folder, error);
  if (error) return fail(ErrorCode::io, "model folder " + options.folder.string() + ": " + error.message());
  for (const fs::path& folder : options.folders) {
    if (!fs::is_directory(folder, error))
      return fail(ErrorCode::not_found, "model folder " + folder.string() + ": no such folder; see --models");
  }
  std::unique_ptr<Catalogue> catalogue(new Catalogue(options));
  if (auto done = catalogue->read(); !done) return fail(std::move(done));
  if (auto done = catalogue->rescan(); !done) return fail(std::move(done));
  return catalogue;
}

Result<void> Catalogue::read() {
  std::ifstream in(options_.folder / catalogue_file);
  if (!in) return {};
  std::stringstream content;
  content << in.rdbuf();
  boost::system::error_code error;
  const json::value parsed = json::parse(content.str(), error);
  if (error || !parsed.is_array()) {
    log().warn("{}: cannot be read, so pins and permissions of models are lost", (options_.folder / catalogue_file).string());
    return {};
  }
  for (const json::value& one : parsed.get_array()) {
    if (!one.is_object()) continue;
    const json::object& object = one.get_object();
    Entry entry;
    entry.record.name = text(object, "name");
    entry.record.file = text(object, "file");
    entry.record.sha256 = text(object, "sha256");
    entry.record.fault = text(object, "fault");
    entry.record.pinned = object.contains("pinned") && object.at("pinned").is_bool() && object.at("pinned").get_bool();
    if (const json::value* realms = object.if_contains("realms"); realms != nullptr && realms->is_array()) {
      for (const json::value& realm : realms->get_array()) {
        if (realm.is_string()) entry.record.realm_ids.emplace_back(realm.get_string());
      }
    }
    GgufSummary& summary = entry.record.summary;
    summary.architecture = text(object, "architecture");
    summary.quantization = text(object, "quantization");
    summary.parameters = number<uint64_t>(object, "parameters");
    summary.bytes = number<uint64_t>(object, "bytes");
    summary.context_tokens = number<uint64_t>(object, "context_tokens");
    summary.vocabulary_tokens = number<uint64_t>(object, "vocabulary_tokens");
    summary.kv_bytes_per_token = number<uint64_t>(object, "kv_bytes_per_token");
    summary.parts = number<uint64_t>(object, "parts");
    entry.stamp = {number<uint64_t>(object, "file_bytes"), number<int64_t>(object, "changed_ns"), number<uint64_t>(object, "inode")};
    const std::string name = entry.record.name;
    if (is_model_name(name)) entries_.insert_or_assign(name, std::move(entry));
  }
  return {};
}

Result<void> Catalogue::write() const {
  json::array list;
  for (const auto& [name, entry] : entries_) {
    const ModelRecord& record = entry.record;
    list.push_back(json::object{{"name", name},
                                {"file", record.file.string()},
                                {"sha256", record.sha256},
                                {"fault", record.fault},
                                {"pinned", record.pinned},
                                {"realms", json::value_from(record.realm_ids)},
                                {"architecture", record.summary.architecture},
                                {"quantization", record.summary.quantization},
                                {"parameters", record.summary.parameters},
                                {"bytes", record.summary.bytes},
                                {"context_tokens", record.summary.context_tokens},
                                {"vocabulary_tokens", record.summary.vocabulary_tokens},
                                {"kv_bytes_per_token", record.summary.kv_bytes_per_token},
                                {"parts", record.summary.parts},
                                {"file_bytes", entry.stamp.bytes},
                                {"changed_ns", entry.stamp.changed_ns},
                                {"inode", entry.stamp.inode}});
  }
  const fs::path file = options_.folder / catalogue_file;
  const fs::path next = file.string() + ".next";
  const std::string content = json::serialize(list);
  const int descriptor = ::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool ok = descriptor >= 0 && ::write(descriptor, content.data(), content.size()) == static_cast<ssize_t>(content.size()) &&
            fsync(descriptor) == 0;
  if (descriptor >= 0) close(descriptor);
  ok = ok && rename(next.c_str(), file.c_str()) == 0;
  return ok ? Result<void>{} : fail(ErrorCode::io, file.string() + ": cannot be written: " + std::strerror(errno));
}

Catalogue::Entry Catalogue::examine(const fs::path& file, const std::string& name, const Stamp& stamp) const {
  Entry entry;
  entry.record.name = name;
  entry.record.file = file;
  entry.stamp = stamp;
  entry.record.summary.bytes = stamp.bytes;
  auto checked = validate_in_child(options_.checker, file);
  if (!checked) {
    entry.record.fault = checked.error().message;
    return entry;
  }
  entry.record.summary = std::move(*checked);
  auto hash = hash_of(file);
  hash ? entry.record.sha256 = std::move(*hash) : entry.record.fault = hash.error().message;
  return entry;
}

// Adds a file when it is a model that is not there yet.
void Catalogue::take(const fs::path& file, bool owned, const Entries& before, Entries& found) const {
  const std::string name = name_of(file);
  struct stat status {};
  if (!is_model_name(name) || found.contains(name) || stat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return;
  const Stamp stamp{static_cast<uint64_t>(status.st_size), int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec,
                    status.st_ino};
  const auto known = before.find(name);
  const bool unchanged = known != before.end() && known->second.stamp == stamp && known->second.record.file == file;
  Entry entry = unchanged ? known->second : examine(file, name, stamp);
  if (known != before.end()) {
    entry.record.pinned = known->second.record.pinned;
    entry.record.realm_ids = known->second.record.realm_ids;
  }
  entry.record.owned = owned;
  if (!unchanged && !entry.record.fault.empty()) log().warn("{}", entry.record.fault);
  found.emplace(name, std::move(entry));
}

void Catalogue::scan(const fs::path& folder, bool owned, const Entries& before, Entries& found) const {
  std::error_code error;
  for (fs::directory_iterator file(folder, error), end; !error && file != end; file.increment(error)) {
    if (found.size() >= models_max) {
      log().warn("{}: more than {} models; the rest is left out", folder.string(), models_max);
      return;
    }
    take(file->path(), owned, before, found);
  }
  if (error) log().warn("model folder {}: {}", folder.string(), error.message());
}

Result<void> Catalogue::rescan() {
  std::lock_guard scanning(scanning_);
  Entries before;
  {
    std::lock_guard lock(mutex_);
    before = entries_;
  }
  Entries found;
  for (const fs::path& file : options_.files) take(fs::absolute(file), false, before, found);
  for (const fs::path& folder : options_.folders) scan(fs::absolute(folder), false, before, found);
  scan(fs::absolute(options_.folder), true, before, found);
  std::lock_guard lock(mutex_);
  // What the operator set stays, also for files that are away for now.
  for (auto& [name, entry] : entries_) {
    const auto now = found.find(name);
    if (now != found.end()) {
      now->second.record.pinned = entry.record.pinned;
      now->second.record.realm_ids = entry.record.realm_ids;
    } else if (entry.record.pinned || !entry.record.realm_ids.empty()) {
      entry.record.fault = "model file " + entry.record.file.string() + ": is not there any more";
      entry.stamp = {};
      found.emplace(name, entry);
    }
  }
  entries_.swap(found);
  return write();
}

std::vector<ModelRecord> Catalogue::list() const {
  std::lock_guard lock(mutex_);
  std::vector<ModelRecord> records;
  for (const auto& [name, entry] : entries_) records.push_back(entry.record);
  return records;
}

Result<ModelRecord> Catalogue::find(std::string_view name, std::string_view tenant_id) const {
  std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  const bool usable = found != entries_.end() && found->second.record.fault.empty();
  if (!usable || !is_for(found->second.record, tenant_id)) return missing(name);
  return found->second.record;
}

Result<ModelRecord> Catalogue::only_one(std::string_view tenant_id) const {
  std::lock_guard lock(mutex_);
  const ModelRecord* only = nullptr;
  for (const auto& [name, entry] : entries_) {
    if (!entry.record.fault.empty() || !is_for(entry.record, tenant_id)) continue;
    if (only != nullptr) return fail(ErrorCode::not_found, "there are several models; name one");
    only = &entry.record;
  }
  if (only == nullptr) return fail(ErrorCode::not_found, "there is no model");
  return *only;
}

Result<void> Catalogue::change(std::string_view name, const std::function<void(ModelRecord&)>& change) {
  std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return missing(name);
  change(found->second.record);
  return write();
}

Result<void> Catalogue::set_pinned(std::string_view name, bool pinned) {
  return change(name, [pinned](ModelRecord& record) { record.pinned = pinned; });
}

Result<void> Catalogue::set_access(std::string_view name, std::vector<std::string> realm_ids) {
  return change(name, [&realm_ids](ModelRecord& record) { record.realm_ids = std::move(realm_ids); });
}

Result<void> Catalogue::remove(std::string_view name) {
  std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return missing(name);
  if (!found->second.record.owned) {
    return fail(ErrorCode::permission_denied, "model " + std::string(name) + " lies in " +
                                                  found->second.record.file.parent_path().string() +
                                                  ", which is not the store's own folder; remove the file there");
  }
  std::error_code error;
  const fs::path file = found->second.record.file;
  fs::remove(file, error);  // who has it loaded keeps it
  if (error) return fail(ErrorCode::io, "model file " + file.string() + ": " + error.message());
  PartName part = part_name(file.stem().string());
  for (part.part = 2; part.part <= part.parts; ++part.part) fs::remove(file.parent_path() / part_file(part), error);
  entries_.erase(found);
  return write();
}

}  // namespace realm::models
