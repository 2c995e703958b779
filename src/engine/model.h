// A model's weights and vocabulary: loaded once, shared by every sequence, immutable.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/backend.h"
#include "engine/tensors.h"

struct llama_model;
struct llama_vocab;

namespace realm::engine {

class Tokenizer;

struct ModelOptions {
  std::filesystem::path file = {};  // GGUF
  std::string name = {};            // empty: the file's name without ".gguf"
  BackendChoice backend = BackendChoice::automatic;
  uint32_t gpu_layers_max = 1'000;  // layers put on a GPU when one is used
  bool map_file = true;             // map read-only rather than copy; the file must then stay as it is
  // Called on the loading thread with 0 to 1; false gives the load up (ErrorCode::cancelled).
  std::function<bool(float fraction)> progress = {};
};

// How the rows of a text's tokens become one vector.
enum class Pooling : uint8_t { mean, first, last, rank };  // rank: the model's own scores of the last row

struct ModelInfo {
  std::string name;                 // file name without ".gguf"
  std::string architecture;         // "llama"
  std::string quantization;         // "Q4_1"
  std::string chat_template;        // Jinja; empty when the file carries none
  std::string chat_template_tools;  // likewise, the "tool_use" variant
  std::string rerank_template;      // with {query} and {document}; empty when the file carries none
  uint64_t weights_bytes = 0;
  uint64_t parameters = 0;
  uint32_t context_tokens_trained = 0;
  uint32_t vocabulary_tokens = 0;
  uint32_t embedding_values = 0;    // of the vector of a text; of a model that ranks, how many scores
  Pooling pooling = Pooling::mean;  // as the file states it; mean when it does not
  int32_t bos_token = -1;           // -1: the vocabulary has none
  int32_t eos_token = -1;
  int32_t eot_token = -1;
  bool adds_bos = false;
  bool adds_eos = false;
  bool can_roll_back = true;  // false for recurrent and hybrid models: a rollback recomputes from the start
};

constexpr uint32_t tokenize_text_bytes_max = 1u << 20;

struct TokenizeOptions {
  bool add_special = false;
  bool parse_special = false;
};

class Model {
 public:
  // Fails with not_found, permission_denied, corrupt (not GGUF, truncated, inconsistent), unsupported (architecture, backend),
  // resource_exhausted (memory) or cancelled. The message names the file and what to do.
  static Result<std::shared_ptr<Model>> load(const ModelOptions& options);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // All of these: any thread.
  const ModelInfo& info() const noexcept { return info_; }
  // The same tokens as llama.cpp's own tools. Any bytes: what is not UTF-8 becomes U+FFFD or byte tokens, as the vocabulary has it.
  // Fails with invalid_argument above tokenize_text_bytes_max.
  Result<std::vector<int32_t>> tokenize(std::string_view text, TokenizeOptions options) const;
  // Appends the bytes of one token; ids outside the vocabulary are invalid_argument. Control tokens only with `special`.
  Result<void> append_token_text(int32_t token, bool special, std::string& out) const;
  // Every token that stands for text, sorted by its bytes, front-coded as `model_vocabulary` of abi/realm_abi.h says. Made at the first
  // call, which takes some 50 ms for 100,000 tokens.
  const std::vector<uint8_t>& sorted_vocabulary() const;
  bool is_token(int32_t token) const noexcept { return token >= 0 && static_cast<uint32_t>(token) < info_.vocabulary_tokens; }
  bool is_end_of_generation(int32_t token) const noexcept;
  bool is_control(int32_t token) const noexcept;

  // Its weights; what they are is found out at the first call.
  const Tensors& tensors() const;
  // A value of the file's metadata as text. Nothing when there is no such key, or it has a list.
  std::optional<std::string> metadata(std::string_view key) const;

  llama_model* native() const noexcept { return model_; }

 private:
  Model();
  llama_model* model_ = nullptr;
  const llama_vocab* vocabulary_ = nullptr;
  std::unique_ptr<Tokenizer> tokenizer_;
  ModelInfo info_;
  mutable std::once_flag tensors_once_;
  mutable std::optional<Tensors> tensors_;
  mutable std::once_flag sorted_once_;
  mutable std::vector<uint8_t> sorted_vocabulary_;
  std::vector<uint8_t> token_flags_;  // looked up for every decoded token
};

}  // namespace realm::engine
