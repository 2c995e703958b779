// The models that are published: what lies in the served folders and in the store's own, checked, with what the operator set for each.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "models/gguf_check.h"

namespace realm::models {

constexpr size_t models_max = 10'000;  // of one folder; more are left out, with a warning

struct ModelRecord {
  std::string name;  // file name without ".gguf", and of a model in parts without "-00001-of-0000N"
  std::filesystem::path file;
  bool owned = false;  // lies in the store's own folder: removing the model removes it
  std::string sha256;
  GgufSummary summary;
  std::string fault;                   // why it cannot be used; empty: it can
  bool pinned = false;                 // never evicted
  std::vector<std::string> realm_ids;  // for whom it is; empty: everybody
};

struct CatalogueOptions {
  std::filesystem::path folder;                // the store's own: pulled files and catalogue.json. Made when missing
  std::vector<std::filesystem::path> folders;  // whose *.gguf files are published too
  std::vector<std::filesystem::path> files;    // published too
  std::filesystem::path checker;               // see validate_in_child
};

class Catalogue {
 public:
  // Reads what was set before and scans the folders.
  static Result<std::unique_ptr<Catalogue>> open(const CatalogueOptions& options);

  // All of these: any thread.
  // Looks for new, changed and vanished files. A file that has not changed since is neither hashed nor checked again.
  Result<void> rescan();
  std::vector<ModelRecord> list() const;  // by name
  // What the tenant may use. A model that is not for it, or has a fault, gives the same error as one that does not exist. `tenant_id` may
  // be empty.
  Result<ModelRecord> find(std::string_view name, std::string_view tenant_id) const;
  // The only usable model that the tenant may use; not_found with none or several.
  Result<ModelRecord> only_one(std::string_view tenant_id) const;

  Result<void> set_pinned(std::string_view name, bool pinned);
  Result<void> set_access(std::string_view name, std::vector<std::string> realm_ids);  // empty: everybody
  // Takes it out of the catalogue and deletes its file. Only of models that were pulled: others lie in folders of the operator's.
  Result<void> remove(std::string_view name);

  const std::filesystem::path& folder() const { return options_.folder; }
  const std::filesystem::path& checker() const { return options_.checker; }

 private:
  // What tells whether a file has changed.
  struct Stamp {
    uint64_t bytes = 0;
    int64_t changed_ns = 0;
    uint64_t inode = 0;
    bool operator==(const Stamp&) const = default;
  };
  struct Entry {
    ModelRecord record;
    Stamp stamp;
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  explicit Catalogue(const CatalogueOptions& options) : options_(options) {}
  Result<void> read();
  Result<void> write() const;  // with mutex_ held
  void scan(const std::filesystem::path& folder, bool owned, const Entries& before, Entries& found) const;
  void take(const std::filesystem::path& file, bool owned, const Entries& before, Entries& found) const;
  Entry examine(const std::filesystem::path& file, const std::string& name, const Stamp& stamp) const;
  Result<void> change(std::string_view name, const std::function<void(ModelRecord&)>& change);

  const CatalogueOptions options_;
  std::mutex scanning_;
  mutable std::mutex mutex_;
  Entries entries_;  // guarded
};

}  // namespace realm::models
