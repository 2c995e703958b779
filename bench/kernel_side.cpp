#include "kernel_side.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/clock.h"
#include "engine/backend.h"
#include "kernels/extension.h"

namespace realm::bench {

Side::Side(const SideOptions& options, engine::ComputePool& pool, uint32_t sequences, uint32_t context_tokens)
    : pool_(pool), options_(options) {
  engine::start_backends();
  use_kernels();
  model_ = engine::Model::load({.file = options.model, .backend = engine::BackendChoice::cpu}).value();
  llama_context_params params = llama_context_default_params();
  params.n_ctx = context_tokens * sequences;
  params.n_batch = params.n_ubatch = batch_tokens_max;
  params.n_seq_max = sequences;
  params.n_threads = params.n_threads_batch = static_cast<int32_t>(pool.threads());
  params.type_k = params.type_v = options.kv;
  params.flash_attn_type = options.flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.kv_unified = false;
  params.no_perf = true;
  context_ = llama_init_from_model(model_->native(), params);
  pool.attach(context_);
  batch_ = llama_batch_init(batch_tokens_max, 0, 1);
}

Side::~Side() {
  llama_batch_free(batch_);
  llama_free(context_);
}

void Side::use_kernels() const {
  kernels::use(false);
  kernels::use_set(options_.set);
}

double Side::decode(const std::vector<Step>& tokens) {
  use_kernels();
  batch_.n_tokens = 0;
  for (const Step& step : tokens) {
    const int32_t at = batch_.n_tokens++;
    batch_.token[at] = step.token;
    batch_.pos[at] = static_cast<llama_pos>(step.position);
    batch_.n_seq_id[at] = 1;
    batch_.seq_id[at][0] = static_cast<llama_seq_id>(step.sequence);
    batch_.logits[at] = step.logits ? 1 : 0;
  }
  const auto turn = pool_.acquire();
  const int64_t began_ns = monotonic_ns();
  if (llama_decode(context_, batch_) != 0) std::abort();
  llama_synchronize(context_);
  return static_cast<double>(monotonic_ns() - began_ns) / 1e9;
}

ConvertedModel::ConvertedModel(const std::string& model, llama_ftype type)
    : file_(std::filesystem::temp_directory_path() / ("realm-bench-" + std::to_string(getpid()) + "-" + std::to_string(type) + ".gguf")) {
  engine::start_backends();
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = type;
  params.allow_requantize = true;
  params.pure = true;
  if (llama_model_quantize(model.c_str(), file_.c_str(), &params) != 0) {
    std::fprintf(stderr, "realm-bench: %s cannot be converted into %s\n", model.c_str(), file_.c_str());
    std::exit(1);
  }
}

ConvertedModel::~ConvertedModel() { std::filesystem::remove(file_); }

}  // namespace realm::bench
