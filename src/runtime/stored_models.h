// The model store's side of the runtime: files become loaded models, and programs' names become leases.
#pragma once

#include <memory>

#include "engine/backend.h"
#include "models/prefixes.h"
#include "models/store.h"
#include "runtime/model_source.h"
#include "runtime/runtime.h"

namespace realm::runtime {

struct StoredModelsOptions {
  models::StoreOptions store;
  engine::BackendChoice backend = engine::BackendChoice::automatic;
  uint64_t kv_bytes_max = 0;  // of each model; as in the runtime's scheduler options, which must say the same. Not 0
  const models::PublishedPrefixes* prefixes = nullptr;  // of models as they are loaded; null: none. Outlives the models
};

class StoredModels final : public ModelSource, private models::ModelLoader {
 public:
  // Both outlive this; it must outlive the runtime's requests. Becomes the runtime's source.
  StoredModels(Runtime& runtime, const models::Catalogue& catalogue, const StoredModelsOptions& options);

  void open(std::string_view name, std::string_view tenant_id, ModelOpened opened) override;
  const models::ModelStore& store() const { return store_; }

 private:
  uint64_t estimate_bytes(const models::ModelRecord& record) override;
  Result<Loaded> load(const models::ModelRecord& record, const std::atomic<bool>& given_up) override;

  Runtime& runtime_;
  const StoredModelsOptions options_;
  models::ModelStore store_;
};

}  // namespace realm::runtime
