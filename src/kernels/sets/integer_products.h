// Products of packed whole numbers (integer_formats.h) with activations that are rounded to 8 bits.
#pragma once

#include "kernels/sets/integer_formats.h"

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

void round_block(const float* from, int offset, bool two_scales, int8_t* values, BlockScale& to) {
  constexpr int parts = weight_block / lanes;
  Floats value[parts];
  Floats largest_of = zeros();
  for (int i = 0; i < parts; ++i) {
    value[i] = load(from + i * lanes);
    largest_of = larger(largest_of, larger(value[i], -value[i]));
  }
  const float step = largest(largest_of) / 127;
  const float factor = step > 0 ? 1 / step : 0;
  constexpr float rounding = 12582912.0f;  // leaves the nearest whole number in the low bits
  Ints totals[2]{};
  for (int i = 0; i < parts; ++i) {
    const Ints whole = reinterpret_cast<Ints>(value[i] * factor + rounding) - 0x4b400000;
    totals[i * 2 / parts] += whole;
    typedef int8_t Narrow __attribute__((vector_size(lanes)));
    const Narrow narrow = __builtin_convertvector(whole, Narrow);
    std::memcpy(values + i * lanes, &narrow, sizeof(narrow));
  }
  const float first = sum(__builtin_convertvector(totals[0], Floats)), last = sum(__builtin_convertvector(totals[1], Floats));
  const int begin = -offset * static_cast<int>(first), begin_last = -offset * static_cast<int>(last);
  to = {step, step * first + step * last, {two_scales ? begin : begin + begin_last, begin_last}};
}

template <typename Format>
class IntegerProduct {
 public:
  // Each of these many columns has a sum, and the products of a block beside it, in registers.
  static constexpr int columns_together = registers / 4;
  static constexpr int vectors_together(int) { return 1; }
  static size_t column_bytes(int size) { return static_cast<size_t>(size); }

  static size_t work_bytes(const Multiplication& task) {
    const auto values = static_cast<size_t>(task.columns) * static_cast<size_t>(task.size);
    return round_up(values) + round_up(values / weight_block * sizeof(BlockScale));
  }

  IntegerProduct(const Multiplication& task, char* work)
      : task_(task),
        blocks_(task.size / weight_block),
        values_(reinterpret_cast<int8_t*>(work)),
        scales_(reinterpret_cast<BlockScale*>(work + round_up(static_cast<size_t>(task.columns) * static_cast<size_t>(task.size)))) {}

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
    const char* weights = task_.weights + static_cast<size_t>(panel) * static_cast<size_t>(blocks_) * Format::block_bytes;
    const int8_t* values[N];
    const BlockScale* scales[N];
    for (int c = 0; c < N; ++c) {
      values[c] = values_ + static_cast<size_t>(column + c) * static_cast<size_t>(task_.size);
      scales[c] = scales_ + static_cast<size_t>(column + c) * static_cast<size_t>(blocks_);
    }
    Floats sums[N] = {};
    for (int block = 0; block < blocks_; ++block) {
      add_block<N>(weights, values, scales, sums);
      weights += Format::block_bytes;
      for (int c = 0; c < N; ++c) {
        values[c] += weight_block;
        ++scales[c];
      }
    }
    for (int c = 0; c < N; ++c) store(task_.result(column + c) + panel * lanes, sums[c]);
  }

 private:
  using Sum = typename Format::Sum;

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
  REALM_INLINE void add_block(const char* weights, const int8_t* const (&values)[N], const BlockScale* const (&scales)[N],
                              Floats (&sums)[N]) {
    Sum first[N], last[N];
    if constexpr (Format::offset != 0) {
#pragma GCC unroll 8
      for (int c = 0; c < N; ++c) {
        first[c].begin(scales[c]->begin[0] - Ints{});
        if constexpr (Format::two_scales) last[c].begin(scales[c]->begin[1] - Ints{});
      }
    }
    add_values<0, N>(weights, values, first, last);
    add_values<1, N>(weights, values, first, last);
    add_values<2, N>(weights, values, first, last);
    add_values<3, N>(weights, values, first, last);
    const Meaning meaning = Format::meaning(weights);
#pragma GCC unroll 8
    for (int c = 0; c < N; ++c) {
      const BlockScale& of = *scales[c];
      const Floats found = __builtin_convertvector(first[c].total(), Floats);
      if constexpr (Format::two_scales) {
        const Floats second = __builtin_convertvector(last[c].total(), Floats);
        sums[c] += (found * meaning.scale[0] + second * meaning.scale[1]) * of.scale;
      } else {
        sums[c] += found * (meaning.scale[0] * of.scale);
      }
      if constexpr (Format::needs_minimum) sums[c] += meaning.minimum * of.sum;
    }
  }

  const Multiplication& task_;
  int blocks_;
  int8_t* values_;      // [column][size]
  BlockScale* scales_;  // [column][block]
};

}  // namespace
}  // namespace realm::kernels
