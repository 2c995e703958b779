// The arithmetic of attention on one block of positions: scores, and the weighted sum of the values. Rows are the queries of a tile. What a
// row gets does not depend on how many rows there are beside it, to the last bit.
#pragma once

#include <utility>

#include "kernels/sets/attention_plan.h"
#include "kernels/sets/lanes.h"

namespace realm::kernels {
namespace {

// From a row's scores to the next one's: whole vectors may be written behind the last score.
constexpr int score_step = block_positions + lanes;
constexpr int few_rows = 4;       // that use keys and values where they lie
constexpr int rows_together = 6;  // of more, which have them laid out as floats
constexpr int sum_registers = registers * 3 / 4;

template <KvType type>
REALM_INLINE Floats load_kv(const char* vector, int at) {
  if constexpr (type == KvType::f16) return load_halves(vector + at * 2);
  if constexpr (type == KvType::bf16) return load_bfloats(vector + at * 2);
  if constexpr (type == KvType::f32) return load(reinterpret_cast<const float*>(vector) + at);
  if constexpr (type == KvType::q8_0) {  // blocks of 32 bytes behind a half that scales them
    const char* block = vector + at / 32 * 34;
    uint16_t scale;
    std::memcpy(&scale, block, sizeof(scale));
    return load_bytes(block + 2 + at % 32) * half_to_float(scale);
  }
}

// The vectors of one head lie apart, too far for the processor's own prefetching.
constexpr int prefetch_positions = 16;

template <KvType type>
REALM_INLINE void prefetch_kv(const char* vector, int size) {
  const int bytes = type == KvType::f32 ? size * 4 : type == KvType::q8_0 ? size / 32 * 34 : size * 2;
  for (int i = 0; i < bytes; i += 64) __builtin_prefetch(vector + i);
}

// scores[row][position] for `R` rows and `positions` (at most block_positions), eight at a time; what lies behind them is undefined.
template <KvType type, int R>
void score_positions(const float* queries, int size, const char* keys, size_t step, int positions, float* scores) {
  constexpr int together = R == 1 ? 8 : R == 2 ? 4 : 2;
  for (int begin = 0; begin < positions; begin += 8) {
    Floats sums[R][8];
    for (int p = begin + prefetch_positions; p < std::min(begin + prefetch_positions + 8, positions); ++p) {
      prefetch_kv<type>(keys + static_cast<size_t>(p) * step, size);
    }
    for (int sub = 0; sub < 8; sub += together) {
      const char* at[together];
      for (int p = 0; p < together; ++p) at[p] = keys + static_cast<size_t>(std::min(begin + sub + p, positions - 1)) * step;
      Floats acc[together][R] = {};
      for (int i = 0; i < size; i += lanes) {
        Floats key[together];
        for (int p = 0; p < together; ++p) key[p] = load_kv<type>(at[p], i);
        for (int r = 0; r < R; ++r) {
          const Floats query = load(queries + r * size + i);
          for (int p = 0; p < together; ++p) acc[p][r] += key[p] * query;
        }
      }
      for (int r = 0; r < R; ++r) {
        for (int p = 0; p < together; ++p) sums[r][sub + p] = acc[p][r];
      }
    }
    for (int r = 0; r < R; ++r) _mm256_storeu_ps(scores + r * score_step + begin, sums_of_eight(sums[r]));
  }
}

template <KvType type, int R, int C>
REALM_INLINE void add_columns(const float* weights, const char* values, size_t step, int positions, int column, float* out, int size) {
  Floats acc[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) acc[r][c] = load(out + r * size + column + c * lanes);
  }
  for (int p = 0; p < positions; ++p) {
    const char* vector = values + static_cast<size_t>(p) * step;
    if (column == 0) prefetch_kv<type>(vector + prefetch_positions * step, size);
    Floats value[C];
    for (int c = 0; c < C; ++c) value[c] = load_kv<type>(vector, column + c * lanes);
    for (int r = 0; r < R; ++r) {
      const Floats weight = spread(weights[r * score_step + p]);
      for (int c = 0; c < C; ++c) acc[r][c] += weight * value[c];
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) store(out + r * size + column + c * lanes, acc[r][c]);
  }
}

// out[row] += weights[row] . values
template <KvType type, int R>
void add_values_of_positions(const float* weights, const char* values, size_t step, int positions, float* out, int size) {
  int column = 0;
  if constexpr (R * 8 <= sum_registers) {
    for (; column + 8 * lanes <= size; column += 8 * lanes) add_columns<type, R, 8>(weights, values, step, positions, column, out, size);
  }
  if constexpr (R * 4 <= sum_registers) {
    for (; column + 4 * lanes <= size; column += 4 * lanes) add_columns<type, R, 4>(weights, values, step, positions, column, out, size);
  }
  for (; column < size; column += 2 * lanes) add_columns<type, R, 2>(weights, values, step, positions, column, out, size);
}

// Vectors as floats, one behind the other.
template <KvType type>
void lay_out_floats(const char* vectors, size_t step, int positions, int size, float* to) {
  for (int p = 0; p < positions; ++p) {
    const char* vector = vectors + static_cast<size_t>(p) * step;
    prefetch_kv<type>(vector + prefetch_positions * step, size);
    for (int i = 0; i < size; i += lanes) store(to + p * size + i, load_kv<type>(vector, i));
  }
}

// Calls `f` with the number of rows as a constant, at most R at a time, and where they begin.
template <int R, typename F>
REALM_INLINE void for_rows(int rows, F f) {
  int row = 0;
  for (; row + R <= rows; row += R) f(std::integral_constant<int, R>(), row);
  if constexpr (R > 1) {
    if (row < rows) for_rows<R - 1>(rows - row, [&](auto count, int begin) { f(count, row + begin); });
  }
}

}  // namespace
}  // namespace realm::kernels
