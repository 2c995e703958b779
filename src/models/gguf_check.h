// A strict reading of a GGUF file (versions 2 and 3, little endian), before anything that trusts it does. It follows the format's
// own description: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace realm::models {

constexpr uint64_t gguf_keys_max = 65'536;
constexpr uint64_t gguf_tensors_max = 65'536;
constexpr uint64_t gguf_name_bytes_max = 256;         // of a key or a tensor
constexpr uint64_t gguf_text_bytes_max = 16u << 20;   // of a value, such as a chat template
constexpr uint64_t gguf_array_items_max = 16u << 20;  // vocabularies have a few hundred thousand
constexpr uint64_t gguf_parts_max = 999;

struct GgufSummary {
  std::string architecture;  // "llama"
  std::string quantization;  // of most of its bytes: "Q4_1"
  uint64_t parameters = 0;
  uint64_t bytes = 0;
  uint64_t context_tokens = 0;  // that it was trained for; 0: it does not say
  uint64_t vocabulary_tokens = 0;
  uint64_t kv_bytes_per_token = 0;  // 2 x layers x KV heads x size of a head x 2 bytes; 0: unknown
  uint64_t parts = 1;               // files that make the model up
};

// The first fault by what it is and where. `bytes` is the whole file.
Result<GgufSummary> check_gguf(std::span<const uint8_t> bytes);

}  // namespace realm::models
