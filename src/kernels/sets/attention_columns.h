// Scores of many rows: keys are laid out as columns, with one value of many positions in each vector, so that no sum runs across a vector.
// The sums are those of score_positions to the last bit: there a lane has a partial sum, here a vector has that partial sum of many
// positions.
#pragma once

#include <algorithm>
#include <iterator>

#include "kernels/sets/attention_blocks.h"

namespace realm::kernels {
namespace {

constexpr bool has_columns = lanes == 16;  // with eight, sums across a vector cost less than this layout
constexpr int column_rows_together = 4;    // times two vectors, and as many sums three times over on the way
constexpr int column_rows_min = 8;         // fewer are not worth laying keys out

// Each second element of `a` and `b` in turn, of their first halves or of their last ones.
template <bool last>
REALM_INLINE Floats interleave(Floats a, Floats b) {
  constexpr int at = last ? lanes / 2 : 0;
  return [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
    return __builtin_shufflevector(a, b, (at + i / 2 + i % 2 * lanes)...);
  }
  (std::make_integer_sequence<int, lanes>());
}

// `rows` as a square matrix, transposed: each round of interleaving moves one bit of the row's number into the column's.
REALM_INLINE void transpose(Floats (&rows)[lanes]) {
  for (int round = 1; round < lanes; round *= 2) {
    Floats next[lanes];
#pragma GCC unroll 16
    for (int i = 0; i < lanes / 2; ++i) {
      next[2 * i] = interleave<false>(rows[i], rows[i + lanes / 2]);
      next[2 * i + 1] = interleave<true>(rows[i], rows[i + lanes / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) rows[i] = next[i];
  }
}

// [positions in a row][value][position]; what lies behind the last position is the last one again.
template <KvType type>
void lay_out_columns(const char* vectors, size_t step, int positions, int size, float* to) {
  for (int begin = 0; begin < positions; begin += lanes) {
    for (int p = begin + prefetch_positions; p < std::min(begin + prefetch_positions + lanes, positions); ++p) {
      prefetch_kv<type>(vectors + static_cast<size_t>(p) * step, size);
    }
    for (int i = 0; i < size; i += lanes) {
      Floats square[lanes];
#pragma GCC unroll 16
      for (int p = 0; p < lanes; ++p) {
        square[p] = load_kv<type>(vectors + static_cast<size_t>(std::min(begin + p, positions - 1)) * step, i);
      }
      transpose(square);
#pragma GCC unroll 16
      for (int p = 0; p < lanes; ++p) store(to + (i + p) * lanes, square[p]);
    }
    to += size * lanes;
  }
}

// The scores of `R` rows with the positions of `V` vectors.
template <int R, int V>
class ColumnScores {
 public:
  ColumnScores(const float* queries, const float* keys, int size) : queries_(queries), keys_(keys), size_(size) {}

  void store_to(float* scores) const {
    const Sums sums = sum_of<0, std::size(distances)>();
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) store(scores + r * score_step + v * lanes, sums.of[r][v]);
    }
  }

 private:
  struct Sums {
    Floats of[R][V];

    REALM_INLINE_MEMBER void add(const Sums& other) {
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) of[r][v] += other.of[r][v];
      }
    }
  };

  // What lane `l` of score_positions has.
  template <int l>
  REALM_INLINE_MEMBER Sums partial() const {
    Sums sums{};
    for (int i = l; i < size_; i += lanes) {
      Floats key[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) key[v] = load(keys_ + (v * size_ + i) * lanes);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const Floats query = spread(queries_[r * size_ + i]);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sums.of[r][v] += key[v] * query;
      }
    }
    return sums;
  }

  // Of two to the power of `level` lanes from `l` on, added in the order of sums_of_eight.
  template <int l, size_t level>
  REALM_INLINE_MEMBER Sums sum_of() const {
    if constexpr (level == 0) {
      return partial<l>();
    } else {
      Sums sums = sum_of<l, level - 1>();
      sums.add(sum_of<l + distances[level - 1], level - 1>());
      return sums;
    }
  }

  static constexpr int distances[] = {8, 1, 2, 4};  // between the lanes that each level adds

  const float* queries_;
  const float* keys_;
  int size_;
};

// Like score_positions, with keys from lay_out_columns.
template <int R>
void score_columns(const float* queries, int size, const float* keys, int positions, float* scores) {
  int begin = 0;
  for (; begin + 2 * lanes <= positions; begin += 2 * lanes) {
    ColumnScores<R, 2>(queries, keys + begin * size, size).store_to(scores + begin);
  }
  for (; begin < positions; begin += lanes) ColumnScores<R, 1>(queries, keys + begin * size, size).store_to(scores + begin);
}

}  // namespace
}  // namespace realm::kernels
