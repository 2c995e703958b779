#include "runtime/stored_models.h"

#include "runtime/loaded_model.h"

namespace realm::runtime {
namespace {

// What a context computes in: rows of logits for a batch, and a few activations of it. An upper bound for the models that there are.
constexpr uint64_t batch_rows = 512;
constexpr uint64_t activation_bytes = 64u << 20;

uint64_t compute_bytes(uint64_t vocabulary_tokens) { return batch_rows * vocabulary_tokens * sizeof(float) + activation_bytes; }

}  // namespace

StoredModels::StoredModels(Runtime& runtime, const models::Catalogue& catalogue, const StoredModelsOptions& options)
    : runtime_(runtime), options_(options), store_(catalogue, *this, options.store) {
  runtime_.set_model_source(*this);
}

void StoredModels::open(std::string_view name, std::string_view tenant_id, ModelOpened opened) {
  store_.lease(name, tenant_id, [opened = std::move(opened)](Result<models::ModelStore::Lease> lease) {
    if (!lease) return opened(fail(std::move(lease)));
    opened(std::static_pointer_cast<LoadedModel>(*lease));
  });
}

uint64_t StoredModels::estimate_bytes(const models::ModelRecord& record) {
  return record.summary.bytes + options_.kv_bytes_max + compute_bytes(record.summary.vocabulary_tokens);
}

Result<models::ModelLoader::Loaded> StoredModels::load(const models::ModelRecord& record, const std::atomic<bool>& given_up) {
  engine::ModelOptions options{.file = record.file, .backend = options_.backend};
  options.name = record.name;
  options.progress = [&given_up](float) { return !given_up.load(std::memory_order_relaxed); };
  auto loaded = runtime_.load_unnamed_model(options);
  if (!loaded) return fail(std::move(loaded));
  const auto& info = (*loaded)->model->info();
  if (options_.prefixes != nullptr) {
    std::vector<std::string> texts;
    for (models::PublishedPrefix& prefix : options_.prefixes->list(record.name)) texts.push_back(std::move(prefix.text));
    (*loaded)->publisher->set(std::move(texts));
  }
  return Loaded{*loaded, info.weights_bytes + options_.kv_bytes_max + compute_bytes(info.vocabulary_tokens)};
}

}  // namespace realm::runtime
