// How a KV cache holds its numbers.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace realm::engine {

enum class KvType : uint8_t {
  f16,   // 16 bits for a number
  q8_0,  // 8.5 bits: a byte for each, and a scale for each 32 (llama.cpp's block of that name)
};

Result<KvType> parse_kv_type(std::string_view name);  // "f16", "q8_0"

}  // namespace realm::engine
