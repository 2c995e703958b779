#include "kernels/sets/multiply.h"

#include <algorithm>
#include <atomic>

#include "kernels/sets/float_products.h"
#include "kernels/sets/integer_products.h"
#include "kernels/sets/panels.h"
#include "kernels/sets/tiles.h"

namespace realm::kernels {
namespace {

constexpr size_t activations_bytes_max = 192 << 10;  // of the columns that are taken through all weights together: they stay in the cache
constexpr int chunks_per_worker = 4;

// Each format with the way in which it is multiplied.
template <typename FormatOf, template <typename> typename ProductOf>
struct Packed {
  using Format = FormatOf;
  using Product = ProductOf<FormatOf>;
};

// `V` vectors of rows from `vector`, `N` columns at a time and then fewer. They stay in the nearest cache until all columns have been
// there.
template <int V, int N, typename Product>
void multiply_columns(const Product& product, int vector, int column, int end) {
  constexpr int P = std::min(V, Product::vectors_together(N));
  if constexpr (V == 1 && N == Product::columns_together) column = product.multiply_by_tiles(vector, column, end);
  for (; column + N <= end; column += N) {
    for (int i = 0; i < V; i += P) product.template multiply<P, N>(vector + i, column);
  }
  if constexpr (N > 1) {
    if (column < end) multiply_columns<V, N / 2>(product, vector, column, end);
  }
}

template <int V, typename Product>
void multiply_vectors(const Product& product, int vector, int vectors_end, int column, int end) {
  for (; vector < vectors_end; vector += V) multiply_columns<V, Product::columns_together>(product, vector, column, end);
}

template <typename Format, typename Product>
void multiply_all(const Multiplication& task, const Product& product, std::atomic<int>& next_chunk, const Worker& worker) {
  constexpr int columns_together = Product::columns_together, panel = Format::panel_rows / lanes;
  const int panels = task.rows / Format::panel_rows;
  const int chunk = std::max(1, panels / (worker.count * chunks_per_worker));
  const int columns_in_cache = static_cast<int>(activations_bytes_max / Product::column_bytes(task.size));
  const int together = std::max(columns_together, columns_in_cache / columns_together * columns_together);
  const int chunks = (panels + chunk - 1) / chunk;
  for (int i = next_chunk.fetch_add(1); i < chunks; i = next_chunk.fetch_add(1)) {
    const int end = std::min((i + 1) * chunk, panels) * panel;
    for (int column = 0; column < task.columns; column += together) {
      const int columns_end = std::min(column + together, task.columns);
      const int begin = i * chunk * panel;
      if (columns_end - column < columns_together) {
        multiply_vectors<panel>(product, begin, end, column, columns_end);
      } else {
        multiply_vectors<Product::vectors_together(columns_together)>(product, begin, end, column, columns_end);
      }
    }
  }
}

template <typename Format>
void pack_all(int rows, int size, const char* from, char* to) {
  const size_t row_bytes = static_cast<size_t>(size / Format::source_values) * Format::source_bytes;
  for (int row = 0; row < rows; row += Format::panel_rows) {
    for (int source = 0; source < size / Format::source_values; ++source) {
      char* header = to;
      to += Format::header_bytes;
      for (int block = 0; block < blocks_of_source<Format>; ++block) {
        for (int i = 0; i < Format::panel_rows; ++i) {
          const char* of = from + static_cast<size_t>(row + i) * row_bytes + static_cast<size_t>(source) * Format::source_bytes;
          Format::pack(of, block, i, header, to);
        }
        to += Format::block_bytes;
      }
    }
  }
}

// Calls `f` with an object of the type that the name stands for.
template <typename F>
auto with_format(WeightType type, F f) {
  switch (type) {
    case WeightType::q4_0:
      return f(Packed<Q4_0, IntegerProduct>());
    case WeightType::q4_1:
      return f(Packed<Q4_1, IntegerProduct>());
    case WeightType::q5_0:
      return f(Packed<Q5_0, IntegerProduct>());
    case WeightType::q5_1:
      return f(Packed<Q5_1, IntegerProduct>());
    case WeightType::q8_0:
      return f(Packed<Q8_0, IntegerProduct>());
    case WeightType::q4_k:
      return f(Packed<Q4_K, IntegerProduct>());
    case WeightType::q5_k:
      return f(Packed<Q5_K, IntegerProduct>());
    case WeightType::q6_k:
      return f(Packed<Q6_K, IntegerProduct>());
    case WeightType::f16:
      return f(Packed<F16, FloatProduct>());
  }
  __builtin_unreachable();
}

}  // namespace

size_t packed_bytes(WeightType type, int64_t rows, int64_t size) {
  return with_format(type, [&](auto packed) -> size_t {
    using Format = typename decltype(packed)::Format;
    if (rows % Format::panel_rows != 0 || size % Format::source_values != 0) return 0;
    return static_cast<size_t>(rows / Format::panel_rows) * panel_bytes<Format>(size);
  });
}

void pack_weights(WeightType type, int rows, int size, const char* from, char* to) {
  with_format(type, [&](auto packed) { pack_all<typename decltype(packed)::Format>(rows, size, from, to); });
}

size_t multiply_work_bytes(const Multiplication& task) {
  return round_up(sizeof(std::atomic<int>)) +
         with_format(task.type, [&](auto packed) { return decltype(packed)::Product::work_bytes(task); });
}

void multiply(const Multiplication& task, const Worker& worker, void* work) {
  auto& next_chunk = *static_cast<std::atomic<int>*>(work);
  if (worker.index == 0) next_chunk.store(0, std::memory_order_relaxed);
  with_format(task.type, [&](auto packed) {
    using Form = decltype(packed);
    const typename Form::Product product(task, static_cast<char*>(work) + round_up(sizeof(next_chunk)));
    product.prepare(worker);
    worker.wait();
    const UseTiles tiles(Form::Product::tile_values(task));
    multiply_all<typename Form::Format>(task, product, next_chunk, worker);
  });
}

}  // namespace realm::kernels
