// A model and context of their own that compute with one kind of CPU kernels, for benchmarks that let several kinds alternate.
#pragma once

#include <llama.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/compute_pool.h"
#include "engine/model.h"

namespace realm::bench {

struct SideOptions {
  std::string model;     // file
  std::string_view set;  // of our kernels; empty: ggml's own
  ggml_type kv = GGML_TYPE_F16;
  bool flash_attention = true;
};

class Side {
 public:
  static constexpr uint32_t batch_tokens_max = 512;
  static constexpr uint32_t sequences_max = 16;

  struct Step {
    int32_t token;
    uint32_t position;
    uint32_t sequence;
    bool logits;
  };

  // Room for `context_tokens` in each of `sequences`. Ends the process when the model cannot be loaded.
  Side(const SideOptions& options, engine::ComputePool& pool, uint32_t sequences, uint32_t context_tokens);
  ~Side();
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  const engine::Model& model() const { return *model_; }
  void clear() { llama_memory_clear(llama_get_memory(context_), false); }
  double decode(const std::vector<Step>& tokens);  // seconds
  const float* logits(int32_t row) const { return llama_get_logits_ith(context_, row); }

 private:
  void use_kernels() const;

  engine::ComputePool& pool_;
  SideOptions options_;
  std::shared_ptr<engine::Model> model_;
  llama_context* context_ = nullptr;
  llama_batch batch_{};
};

// The weights of `model` in another type of ggml's files, as a temporary file that goes with the object.
class ConvertedModel {
 public:
  ConvertedModel(const std::string& model, llama_ftype type);
  ~ConvertedModel();
  ConvertedModel(const ConvertedModel&) = delete;
  ConvertedModel& operator=(const ConvertedModel&) = delete;

  const std::string& file() const { return file_; }

 private:
  std::string file_;
};

}  // namespace realm::bench
