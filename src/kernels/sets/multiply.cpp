#include "kernels/sets/multiply.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "kernels/sets/formats.h"

namespace realm::kernels {
namespace {

constexpr int columns_together = lanes == 8 ? 4 : 2;
constexpr size_t activations_bytes_max = 192 << 10;  // of the columns that are taken through all weights together: they stay in the cache
constexpr int chunks_per_worker = 4;

constexpr size_t round_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

// -- activations

// A block of a column is whole numbers, each times `scale`. The sums are of what they stand for: of the first and the last sixteen, of all.
struct BlockScale {
  float scale;
  float halves[2];
  float sum;
};

struct Quantized {
  int8_t* values;      // [column][size]
  BlockScale* scales;  // [column][size / weight_block]
  std::atomic<int>* next_chunk;
  int blocks;

  Quantized(const Multiplication& task, void* work) : blocks(task.size / weight_block) {
    char* at = static_cast<char*>(work);
    next_chunk = reinterpret_cast<std::atomic<int>*>(at);
    at += round_up(sizeof(*next_chunk));
    values = reinterpret_cast<int8_t*>(at);
    at += round_up(static_cast<size_t>(task.columns) * static_cast<size_t>(task.size));
    scales = reinterpret_cast<BlockScale*>(at);
  }
};

void quantize_block(const float* from, int8_t* values, BlockScale& scale) {
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
  const float first = step * sum(__builtin_convertvector(totals[0], Floats)), last = step * sum(__builtin_convertvector(totals[1], Floats));
  scale = {step, {first, last}, first + last};
}

void quantize(const Multiplication& task, const Quantized& to, const Worker& worker) {
  const int total = task.columns * to.blocks;
  const int begin = static_cast<int>(static_cast<int64_t>(total) * worker.index / worker.count);
  const int end = static_cast<int>(static_cast<int64_t>(total) * (worker.index + 1) / worker.count);
  for (int i = begin; i < end; ++i) {
    const int column = i / to.blocks, block = i % to.blocks;
    quantize_block(task.column(column) + block * weight_block, to.values + static_cast<size_t>(i) * weight_block, to.scales[i]);
  }
}

// -- weights

template <typename Format, int i, int N>
REALM_INLINE void add_values(const char* weights, const int8_t* const (&values)[N], typename Format::Sum (&first)[N],
                             typename Format::Sum (&last)[N]) {
  const auto [low, high] = Format::template values<i>(weights);
#pragma GCC unroll 8
  for (int c = 0; c < N; ++c) {
    first[c].add(low, spread_four(values[c] + i * 4));
    (Format::two_scales ? last : first)[c].add(high, spread_four(values[c] + 16 + i * 4));
  }
}

template <typename Format, int N>
REALM_INLINE void add_block(const char* weights, const int8_t* const (&values)[N], const BlockScale* const (&scales)[N],
                            Floats (&sums)[N]) {
  typename Format::Sum first[N], last[N];
  add_values<Format, 0, N>(weights, values, first, last);
  add_values<Format, 1, N>(weights, values, first, last);
  add_values<Format, 2, N>(weights, values, first, last);
  add_values<Format, 3, N>(weights, values, first, last);
  const Meaning meaning = Format::meaning(weights);
#pragma GCC unroll 8
  for (int c = 0; c < N; ++c) {
    const BlockScale& of = *scales[c];
    const Floats found = __builtin_convertvector(first[c].total(), Floats);
    if constexpr (Format::two_scales) {
      const Floats second = __builtin_convertvector(last[c].total(), Floats);
      sums[c] += (found * meaning.scale[0] + second * meaning.scale[1]) * of.scale;
      sums[c] += meaning.minimum[0] * of.halves[0] + meaning.minimum[1] * of.halves[1];
    } else {
      sums[c] += found * (meaning.scale[0] * of.scale);
      if constexpr (Format::needs_minimum) sums[c] += meaning.minimum[0] * of.sum;
    }
  }
}

template <typename Format, int N>
void multiply_panel(const Multiplication& task, const Quantized& activations, const char* weights, int row, int column) {
  const int8_t* values[N];
  const BlockScale* scales[N];
  for (int c = 0; c < N; ++c) {
    values[c] = activations.values + static_cast<size_t>(column + c) * static_cast<size_t>(task.size);
    scales[c] = activations.scales + static_cast<size_t>(column + c) * static_cast<size_t>(activations.blocks);
  }
  Floats sums[N] = {};
  for (int block = 0; block < activations.blocks; ++block) {
    add_block<Format, N>(weights, values, scales, sums);
    weights += Format::block_bytes;
    for (int c = 0; c < N; ++c) {
      values[c] += weight_block;
      ++scales[c];
    }
  }
  for (int c = 0; c < N; ++c) {
    store(reinterpret_cast<float*>(reinterpret_cast<char*>(task.out) + static_cast<size_t>(column + c) * task.out_step) + row, sums[c]);
  }
}

template <typename Format, int N>
void multiply_columns(const Multiplication& task, const Quantized& activations, const char* weights, int row, int column, int end) {
  for (; column + N <= end; column += N) multiply_panel<Format, N>(task, activations, weights, row, column);
  if constexpr (N > 1) {
    if (column < end) multiply_columns<Format, N / 2>(task, activations, weights, row, column, end);
  }
}

template <typename Format>
void multiply_all(const Multiplication& task, const Quantized& activations, const Worker& worker) {
  const int panels = task.rows / lanes;
  const int chunk = std::max(1, panels / (worker.count * chunks_per_worker));
  const int together = std::max(
      columns_together, static_cast<int>(activations_bytes_max / static_cast<size_t>(task.size)) / columns_together * columns_together);
  const size_t panel_bytes = static_cast<size_t>(activations.blocks) * Format::block_bytes;
  const int chunks = (panels + chunk - 1) / chunk;
  for (int i = activations.next_chunk->fetch_add(1); i < chunks; i = activations.next_chunk->fetch_add(1)) {
    for (int column = 0; column < task.columns; column += together) {
      const int end = std::min(column + together, task.columns);
      for (int panel = i * chunk; panel < std::min((i + 1) * chunk, panels); ++panel) {
        multiply_columns<Format, columns_together>(task, activations, task.weights + static_cast<size_t>(panel) * panel_bytes,
                                                   panel * lanes, column, end);
      }
    }
  }
}

template <typename Format>
void pack_all(int rows, int size, const char* from, char* to) {
  constexpr int blocks_of_source = Format::source_values / weight_block;
  const size_t row_bytes = static_cast<size_t>(size / Format::source_values) * Format::source_bytes;
  for (int row = 0; row < rows; row += lanes) {
    for (int block = 0; block < size / weight_block; ++block) {
      for (int i = 0; i < lanes; ++i) {
        const char* source =
            from + static_cast<size_t>(row + i) * row_bytes + static_cast<size_t>(block / blocks_of_source) * Format::source_bytes;
        Format::pack(source, block % blocks_of_source, i, to);
      }
      to += Format::block_bytes;
    }
  }
}

// Calls `f` with an object of the type that the name stands for.
template <typename F>
auto with_format(WeightType type, F f) {
  switch (type) {
    case WeightType::q4_0:
      return f(Q4_0());
    case WeightType::q4_1:
      return f(Q4_1());
    case WeightType::q5_0:
      return f(Q5_0());
    case WeightType::q5_1:
      return f(Q5_1());
    case WeightType::q8_0:
      return f(Q8_0());
    case WeightType::q5_k:
      return f(Q5_K());
    case WeightType::q6_k:
      return f(Q6_K());
  }
  __builtin_unreachable();
}

}  // namespace

size_t packed_bytes(WeightType type, int64_t rows, int64_t size) {
  return with_format(type, [&](auto format) -> size_t {
    if (rows % lanes != 0 || size % decltype(format)::source_values != 0) return 0;
    return static_cast<size_t>(rows / lanes) * static_cast<size_t>(size / weight_block) * decltype(format)::block_bytes;
  });
}

void pack_weights(WeightType type, int rows, int size, const char* from, char* to) {
  with_format(type, [&](auto format) { pack_all<decltype(format)>(rows, size, from, to); });
}

size_t multiply_work_bytes(const Multiplication& task) {
  const auto columns = static_cast<size_t>(task.columns), size = static_cast<size_t>(task.size);
  return round_up(sizeof(std::atomic<int>)) + round_up(columns * size) + round_up(columns * size / weight_block * sizeof(BlockScale));
}

void multiply(const Multiplication& task, const Worker& worker, void* work) {
  const Quantized activations(task, work);
  if (worker.index == 0) activations.next_chunk->store(0, std::memory_order_relaxed);
  quantize(task, activations, worker);
  worker.wait();
  with_format(task.type, [&](auto format) { multiply_all<decltype(format)>(task, activations, worker); });
}

}  // namespace realm::kernels
