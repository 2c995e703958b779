// Products of packed halves and bfloats with activations. Nothing is rounded before it is multiplied, but where the processor multiplies
// pairs of bfloats: there activations become bfloats too, as ggml has them.
#pragma once

#include <algorithm>

#include "kernels/multiplication.h"
#include "kernels/sets/lanes.h"

namespace realm::kernels {
namespace {

// A panel has the rows of several vectors, all of which a lone column is multiplied with at once: memory is then read in its order, and no
// sum has to wait for the one before it.
constexpr int float_panel_vectors = 4;
constexpr int float_panel_rows = float_panel_vectors * lanes;

// Value by value, one of each row side by side.
struct F16 {
  static constexpr int source_values = 32;
  static constexpr size_t source_bytes = 64;
  static constexpr int panel_rows = float_panel_rows;
  static constexpr size_t block_bytes = weight_block * panel_rows * 2;
  static constexpr int values_together = 1;
  using Activation = float;

  static void pack(const char* source, int, int row, char* to) {
    for (int i = 0; i < weight_block; ++i) std::memcpy(to + (i * panel_rows + row) * 2, source + i * 2, 2);
  }

  template <int P, int N>
  REALM_INLINE void add(const char* weights, const Activation* const (&values)[N], Floats (&sums)[P][N]) {
    Floats weight[P];
    for (int p = 0; p < P; ++p) weight[p] = load_halves(weights + p * lanes * 2);
    for (int c = 0; c < N; ++c) {
      const Floats value = spread(*values[c]);
      for (int p = 0; p < P; ++p) sums[p][c] += weight[p] * value;
    }
  }
};

// Two values of each row side by side.
struct BF16 {
  static constexpr int source_values = 32;
  static constexpr size_t source_bytes = 64;
  static constexpr int panel_rows = float_panel_rows;
  static constexpr size_t block_bytes = weight_block * panel_rows * 2;
  static constexpr int values_together = 2;

  static void pack(const char* source, int, int row, char* to) {
    for (int i = 0; i < weight_block; ++i) std::memcpy(to + (i / 2 * panel_rows + row) * 4 + i % 2 * 2, source + i * 2, 2);
  }

#ifdef __AVX512BF16__
  using Activation = uint16_t;

  static void round(const float* from, Activation* to) {
    const __m512 values = _mm512_loadu_ps(from);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(values)));
  }

  template <int P, int N>
  REALM_INLINE void add(const char* weights, const Activation* const (&values)[N], Floats (&sums)[P][N]) {
    __m512i weight[P];
    for (int p = 0; p < P; ++p) weight[p] = _mm512_loadu_si512(weights + p * lanes * 4);
    for (int c = 0; c < N; ++c) {
      int32_t pair;
      std::memcpy(&pair, values[c], sizeof(pair));
      const auto value = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
      for (int p = 0; p < P; ++p) {
        sums[p][c] =
            reinterpret_cast<Floats>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sums[p][c]), reinterpret_cast<__m512bh>(weight[p]), value));
      }
    }
  }
#else
  using Activation = float;

  template <int P, int N>
  REALM_INLINE void add(const char* weights, const Activation* const (&values)[N], Floats (&sums)[P][N]) {
    Floats even[P], odd[P];
    for (int p = 0; p < P; ++p) {
      Ints pair;
      std::memcpy(&pair, weights + p * lanes * 4, sizeof(pair));
      even[p] = reinterpret_cast<Floats>(pair << 16);
      odd[p] = reinterpret_cast<Floats>(pair & static_cast<int32_t>(0xffff0000));
    }
    for (int c = 0; c < N; ++c) {
      const Floats first = spread(values[c][0]), second = spread(values[c][1]);
      for (int p = 0; p < P; ++p) sums[p][c] = sums[p][c] + even[p] * first + odd[p] * second;
    }
  }
#endif
};

template <typename Format>
class FloatProduct {
 public:
  using Activation = typename Format::Activation;
  static constexpr bool rounds = sizeof(Activation) < sizeof(float);
  static constexpr int columns_together = registers / 4;
  // As many as there are registers for their sums.
  static constexpr int vectors_together(int columns) { return std::min(float_panel_vectors, registers / 2 / columns); }
  static size_t column_bytes(int size) { return static_cast<size_t>(size) * sizeof(Activation); }

  static size_t work_bytes(const Multiplication& task) {
    return rounds ? round_up(static_cast<size_t>(task.columns) * static_cast<size_t>(task.size) * sizeof(Activation)) : 0;
  }

  FloatProduct(const Multiplication& task, [[maybe_unused]] char* work) : task_(task) {
    if constexpr (rounds) rounded_ = reinterpret_cast<Activation*>(work);
  }

  void prepare([[maybe_unused]] const Worker& worker) const {
    if constexpr (rounds) {
      const int blocks = task_.size / lanes;
      const int64_t total = static_cast<int64_t>(task_.columns) * blocks;
      for (int64_t i = total * worker.index / worker.count; i < total * (worker.index + 1) / worker.count; ++i) {
        Format::round(task_.column(static_cast<int>(i / blocks)) + i % blocks * lanes, rounded_ + i * lanes);
      }
    }
  }

  template <int P, int N>
  void multiply(int vector, int column) const {
    const size_t panel_bytes = static_cast<size_t>(task_.size / weight_block) * Format::block_bytes;
    const char* weights = task_.weights + static_cast<size_t>(vector / float_panel_vectors) * panel_bytes +
                          vector % float_panel_vectors * lanes * Format::values_together * 2;
    const Activation* values[N];
    for (int c = 0; c < N; ++c) values[c] = column_values(column + c);
    Floats sums[P][N] = {};
    for (int begin = 0; begin < task_.size; begin += part_values) {
      // A sum of parts is nearer to the truth than one long sum.
      Floats part[P][N] = {};
      const int end = std::min(begin + part_values, task_.size);
#pragma GCC unroll 4
      for (int i = begin; i < end; i += Format::values_together) {
        Format::template add<P, N>(weights, values, part);
        weights += bytes_together;
        for (int c = 0; c < N; ++c) values[c] += Format::values_together;
      }
      for (int p = 0; p < P; ++p) {
        for (int c = 0; c < N; ++c) sums[p][c] += part[p][c];
      }
    }
    for (int p = 0; p < P; ++p) {
      for (int c = 0; c < N; ++c) store(task_.result(column + c) + (vector + p) * lanes, sums[p][c]);
    }
  }

 private:
  static constexpr int part_values = 128;
  static constexpr int bytes_together = Format::values_together * float_panel_rows * 2;

  const Activation* column_values(int column) const {
    if constexpr (rounds) {
      return rounded_ + static_cast<size_t>(column) * static_cast<size_t>(task_.size);
    } else {
      return task_.column(column);
    }
  }

  const Multiplication& task_;
  Activation* rounded_ = nullptr;  // [column][size]
};

}  // namespace
}  // namespace realm::kernels
