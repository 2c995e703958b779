// Products of packed whole numbers (integer_formats.h) with activations that are rounded to 8 bits.
#pragma once

#include <algorithm>

#include "kernels/sets/integer_formats.h"
#include "kernels/sets/panels.h"
#include "kernels/sets/tiles.h"

namespace realm::kernels {
namespace {

// A block of a column is whole numbers, each times `scale`. The sum is of what they stand for.
struct BlockScale {
  float scale;
  float sum;
  // What the offset of a format's values takes from the sums of products: of the block, or of its halves where these have scales of their
  // own.
  int32_t begin[2];
};

REALM_INLINE void round_block(const float* from, int offset, bool two_scales, int8_t* values, BlockScale& to) {
  Floats value[block_vectors];
  Floats largest_of = zeros();
  for (int i = 0; i < block_vectors; ++i) {
    value[i] = load(from + i * lanes);
    largest_of = larger(largest_of, larger(value[i], -value[i]));
  }
  const float most = largest(largest_of);
  const float step = most / 127;
  constexpr float nothing = 1e-30f;  // beside weights that are halves; its inverse is a number
  const float factor = most > nothing ? 127 / most : 0;
  constexpr float rounding = 12582912.0f;  // leaves the nearest whole number in the low bits
  Ints whole[block_vectors];
  for (int i = 0; i < block_vectors; ++i) whole[i] = reinterpret_cast<Ints>(value[i] * factor + rounding) - 0x4b400000;
  const auto [first, last] = store_narrow(whole, values);
  const int begin = -offset * first, begin_last = -offset * last;
  to = {step, step * static_cast<float>(first + last), {two_scales ? begin : begin + begin_last, begin_last}};
}

template <typename Format>
class IntegerProduct {
 public:
  // Each of these many columns has a sum, and the products of a block beside it, in registers.
  static constexpr int columns_together = registers / 4;
  static constexpr int vectors_together(int) { return 1; }
  static size_t column_bytes(int size) { return static_cast<size_t>(size); }

  static size_t work_bytes(const Multiplication& task) {
    return values_bytes(task) + round_up(values_of(task) / weight_block * sizeof(BlockScale));
  }

  IntegerProduct(const Multiplication& task, char* work)
      : task_(task),
        blocks_(task.size / weight_block),
        values_(reinterpret_cast<int8_t*>(work)),
        scales_(reinterpret_cast<BlockScale*>(work + values_bytes(task))) {}

  // This worker's part of the activations.
  void prepare(const Worker& worker) const {
    const int64_t total = static_cast<int64_t>(task_.columns) * blocks_;
    for (int64_t i = total * worker.index / worker.count; i < total * (worker.index + 1) / worker.count; ++i) {
      round_block(task_.column(static_cast<int>(i / blocks_)) + i % blocks_ * weight_block, Format::offset, Format::two_scales,
                  values_ + i * weight_block, scales_[i]);
    }
  }

  template <int P, int N>
  void multiply(int panel, int column) const {
    static_assert(P == 1);
    const char* weights = task_.weights + static_cast<size_t>(panel) * panel_bytes<Format>(task_.size);
    const int8_t* values[N];
    const BlockScale* scales[N];
    for (int c = 0; c < N; ++c) {
      values[c] = values_ + static_cast<size_t>(column + c) * static_cast<size_t>(task_.size);
      scales[c] = scales_ + static_cast<size_t>(column + c) * static_cast<size_t>(blocks_);
    }
    Floats sums[N] = {};
    for (int source = 0; source < task_.size / Format::source_values; ++source) {
      const char* header = weights;
      weights += Format::header_bytes;
      for (int block = 0; block < blocks_of_source<Format>; ++block) {
        add_block<N>(header, weights, values, scales, sums);
        weights += Format::block_bytes;
        for (int c = 0; c < N; ++c) {
          values[c] += weight_block;
          ++scales[c];
        }
      }
    }
    for (int c = 0; c < N; ++c) store(task_.result(column + c) + panel * lanes, sums[c]);
  }

  // The columns from `column` on that fill tiles, where there are many. Returns the first of the others.
  int multiply_by_tiles([[maybe_unused]] int panel, int column, [[maybe_unused]] int end) const {
#ifdef __AMX_INT8__
    if (end - column < tile_columns_min) return column;
    const int tiles_end = end - (end - column) % tile_rows;
    const char* weights = task_.weights + static_cast<size_t>(panel) * panel_bytes<Format>(task_.size);
    UnpackedBlock unpacked[unpacked_blocks_max];
    for (int block = 0; block < blocks_; block += unpacked_blocks_max) {
      const int blocks = std::min(unpacked_blocks_max, blocks_ - block);
      weights = unpack_all(weights, blocks, unpacked);
      for (int c = column; c < tiles_end; c += tile_rows) add_unpacked(unpacked, block, blocks, panel, c);
    }
    return tiles_end;
#else
    return column;
#endif
  }

  // Of each row and column that a tile has, for UseTiles.
  static int tile_values(const Multiplication& task) {
    if (task.columns < tile_columns_min) return 0;
    return Format::two_scales ? weight_block / 2 : weight_block;
  }

 private:
  using Sum = typename Format::Sum;

  static constexpr int tile_columns_min = 32;  // fewer are multiplied sooner without

  static size_t values_of(const Multiplication& task) { return static_cast<size_t>(task.columns) * static_cast<size_t>(task.size); }
  static size_t values_bytes(const Multiplication& task) { return round_up(values_of(task)); }

  // What the sums of a block's products add to a row's sum in a column.
  REALM_INLINE_MEMBER static void add_found(Ints first, Ints last, const Meaning& meaning, const BlockScale& of, Floats& sum) {
    const Floats found = __builtin_convertvector(first, Floats);
    if constexpr (Format::two_scales) {
      const Floats second = __builtin_convertvector(last, Floats);
      sum += (found * meaning.scale[0] + second * meaning.scale[1]) * of.scale;
    } else {
      sum += found * (meaning.scale[0] * of.scale);
    }
    if constexpr (Format::needs_minimum) sum += meaning.minimum * of.sum;
  }

  template <int i, int N>
  REALM_INLINE void add_values(const char* weights, const int8_t* const (&values)[N], Sum (&first)[N], Sum (&last)[N]) {
    const auto [low, high] = Format::template values<i>(weights);
#pragma GCC unroll 8
    for (int c = 0; c < N; ++c) {
      first[c].add(low, spread_four(values[c] + i * 4));
      (Format::two_scales ? last : first)[c].add(high, spread_four(values[c] + 16 + i * 4));
    }
  }

  template <int N>
  REALM_INLINE void add_block(const char* header, const char* weights, const int8_t* const (&values)[N],
                              const BlockScale* const (&scales)[N], Floats (&sums)[N]) {
    Sum first[N], last[N];
    if constexpr (Format::offset != 0) {
#pragma GCC unroll 8
      for (int c = 0; c < N; ++c) {
        first[c].begin(scales[c]->begin[0]);
        if constexpr (Format::two_scales) last[c].begin(scales[c]->begin[1]);
      }
    }
    add_values<0, N>(weights, values, first, last);
    add_values<1, N>(weights, values, first, last);
    add_values<2, N>(weights, values, first, last);
    add_values<3, N>(weights, values, first, last);
    const Meaning meaning = Format::meaning(header, weights);
#pragma GCC unroll 8
    for (int c = 0; c < N; ++c) {
      if constexpr (Format::offset == 0) {
        add_found(first[c].total(), last[c].total(), meaning, *scales[c], sums[c]);
      } else {
        add_found(first[c].total(scales[c]->begin[0]), last[c].total(scales[c]->begin[1]), meaning, *scales[c], sums[c]);
      }
      keep(sums[c]);
    }
  }

#ifdef __AMX_INT8__
  static constexpr int unpacked_blocks_max = 32;  // half of the nearest cache

  static_assert(unpacked_blocks_max % blocks_of_source<Format> == 0);

  // Values without their offset, as the rows of a tile.
  struct UnpackedBlock {
    Bytes values[weight_block / 4];
    Meaning meaning;
  };

  template <int i>
  REALM_INLINE_MEMBER static void unpack_values(const char* weights, UnpackedBlock& to) {
    const auto [low, high] = Format::template values<i>(weights);
    to.values[i] = low - static_cast<uint8_t>(Format::offset);
    to.values[i + 4] = high - static_cast<uint8_t>(Format::offset);
  }

  // Returns where the next block lies.
  static const char* unpack_all(const char* weights, int blocks, UnpackedBlock* to) {
    const char* header = weights;
    for (int block = 0; block < blocks; ++block) {
      if (block % blocks_of_source<Format> == 0) {
        header = weights;
        weights += Format::header_bytes;
      }
      unpack_values<0>(weights, to[block]);
      unpack_values<1>(weights, to[block]);
      unpack_values<2>(weights, to[block]);
      unpack_values<3>(weights, to[block]);
      to[block].meaning = Format::meaning(header, weights);
      weights += Format::block_bytes;
    }
    return weights;
  }

  // The sums of a block's products, in turn in one of two places.
  struct Found {
    Ints first[tile_rows];
    Ints last[Format::two_scales ? tile_rows : 1];
  };

  template <int set>
  REALM_INLINE_MEMBER static void multiply_block(const int8_t* values, size_t size, const UnpackedBlock& with, Found& to) {
    multiply_tile<set, 0>(values, size, with.values, to.first);
    if constexpr (Format::two_scales) multiply_tile<set, 1>(values + weight_block / 2, size, with.values + weight_block / 8, to.last);
  }

  // What `blocks` from `begin` on add to a panel's sums in the columns of a tile. The first blocks begin the sums. The products of a block
  // are on their way while those of the one before it are added.
  void add_unpacked(const UnpackedBlock* unpacked, int begin, int blocks, int panel, int column) const {
    const auto size = static_cast<size_t>(task_.size);
    const int8_t* values = values_ + static_cast<size_t>(column) * size + static_cast<size_t>(begin) * weight_block;
    const BlockScale* scales = scales_ + static_cast<size_t>(column) * static_cast<size_t>(blocks_) + begin;
    Floats sums[tile_rows] = {};
#pragma GCC unroll 16
    for (int c = 0; c < tile_rows; ++c) {
      if (begin > 0) sums[c] = load(task_.result(column + c) + panel * lanes);
    }
    Found found[tile_sets];
    const auto add = [&](const Found& of, int block) __attribute__((always_inline)) {
#pragma GCC unroll 16
      for (int c = 0; c < tile_rows; ++c) {
        add_found(of.first[c], of.last[Format::two_scales ? c : 0], unpacked[block].meaning, scales[c * blocks_ + block], sums[c]);
      }
    };
    multiply_block<0>(values, size, unpacked[0], found[0]);
    for (int block = 0; block < blocks; block += 2) {
      if (block + 1 < blocks) multiply_block<1>(values + (block + 1) * weight_block, size, unpacked[block + 1], found[1]);
      add(found[0], block);
      if (block + 2 < blocks) multiply_block<0>(values + (block + 2) * weight_block, size, unpacked[block + 2], found[0]);
      if (block + 1 < blocks) add(found[1], block + 1);
    }
#pragma GCC unroll 16
    for (int c = 0; c < tile_rows; ++c) store(task_.result(column + c) + panel * lanes, sums[c]);
  }
#endif

  const Multiplication& task_;
  int blocks_;
  int8_t* values_;      // [column][size]
  BlockScale* scales_;  // [column][block]
};

}  // namespace
}  // namespace realm::kernels
