// Products of packed halves with activations. Nothing is rounded before it is multiplied.
#pragma once

#include <algorithm>

#include "kernels/multiplication.h"
#include "kernels/sets/lanes.h"
#include "kernels/sets/panels.h"

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
  static constexpr size_t header_bytes = 0;
  static constexpr int panel_rows = float_panel_rows;
  static constexpr size_t block_bytes = weight_block * panel_rows * 2;

  static void pack(const char* source, int, int row, char*, char* to) {
    for (int i = 0; i < weight_block; ++i) std::memcpy(to + (i * panel_rows + row) * 2, source + i * 2, 2);
  }

  template <int P, int N>
  REALM_INLINE void add(const char* weights, const float* const (&values)[N], Floats (&sums)[P][N]) {
    Floats weight[P];
    for (int p = 0; p < P; ++p) weight[p] = load_halves(weights + p * lanes * 2);
    for (int c = 0; c < N; ++c) {
      const Floats value = spread(*values[c]);
      for (int p = 0; p < P; ++p) sums[p][c] += weight[p] * value;
    }
  }
};

template <typename Format>
class FloatProduct {
 public:
  static constexpr int columns_together = registers / 4;
  // As many as there are registers for their sums.
  static constexpr int vectors_together(int columns) { return std::min(float_panel_vectors, registers / 2 / columns); }
  static size_t column_bytes(int size) { return static_cast<size_t>(size) * sizeof(float); }

  static size_t work_bytes(const Multiplication&) { return 0; }

  FloatProduct(const Multiplication& task, char*) : task_(task) {}

  void prepare(const Worker&) const {}
  static int tile_values(const Multiplication&) { return 0; }

  template <int P, int N>
  void multiply(int vector, int column) const {
    const char* weights = task_.weights + static_cast<size_t>(vector / float_panel_vectors) * panel_bytes<Format>(task_.size) +
                          vector % float_panel_vectors * lanes * 2;
    const float* values[N];
    for (int c = 0; c < N; ++c) values[c] = task_.column(column + c);
    Floats sums[P][N] = {};
    for (int begin = 0; begin < task_.size; begin += part_values) {
      // A sum of parts is nearer to the truth than one long sum.
      Floats part[P][N] = {};
      const int end = std::min(begin + part_values, task_.size);
#pragma GCC unroll 4
      for (int i = begin; i < end; ++i) {
        Format::template add<P, N>(weights, values, part);
        weights += bytes_together;
        for (int c = 0; c < N; ++c) ++values[c];
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
  static constexpr int bytes_together = float_panel_rows * 2;

  const Multiplication& task_;
};

}  // namespace
}  // namespace realm::kernels
