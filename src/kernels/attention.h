// One attention operation as the kernels see it: plain addresses, sizes and strides.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/vectors.h"

namespace realm::kernels {

enum class KvType : uint8_t { f16, bf16, f32, q8_0 };

// out = softmax(scale * queries . keys + mask) . values, for every token and head of every stream. Streams are independent; `heads` /
// `kv_heads` heads in a row share keys and values, and so do `streams` / `kv_streams` streams in a row.
struct Attention {
  Vectors queries;  // float
  Vectors keys;
  Vectors values;
  KvType type = KvType::f16;  // of keys and values
  float* out = nullptr;       // [stream][token][head][value_size]

  const char* mask = nullptr;  // f16 [stream][token][position], added to the scores; null: none
  size_t mask_token_step = 0;
  size_t mask_stream_step = 0;
  int mask_streams = 1;          // repeated over the streams
  const float* sinks = nullptr;  // a score for each head that has no value; null: none

  int tokens = 0;  // in each stream
  int heads = 0;
  int kv_heads = 0;
  int streams = 0;
  int kv_streams = 0;
  int positions = 0;
  int key_size = 0;  // both: multiples of attention_size_step, at most attention_size_max
  int value_size = 0;

  float scale = 1;
  float softcap = 0;   // 0: none
  float max_bias = 0;  // of ALiBi; 0: none
};

constexpr int attention_size_step = 32;
constexpr int attention_size_max = 256;

}  // namespace realm::kernels
