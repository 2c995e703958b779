// Matrix products for programs, computed on the calling thread by ggml's kernels and ours, a slice at a time.
//
// The thread is the worker that runs the program: what a product costs is CPU time of its instance like any other, and between two slices
// the worker may turn to somebody else. No thread of the compute pool takes part, so the shared batch is held up by products no more than
// by anything else that programs compute.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "engine/tensors.h"

namespace realm::engine {

constexpr uint64_t product_multiplications_max = 1ull << 34;  // seconds of one thread
constexpr uint64_t slice_multiplications_max = 1ull << 23;    // about a millisecond; more only where one step is more
constexpr uint32_t slice_columns_step = 64;                   // of the output: where every layout of weights may be divided

// One thread at a time, which may change between slices. What it is given must outlive it and stay as it is.
class Product {
 public:
  // out[i][j] = left row i . right row j (transposed), or left row i . right column j. invalid_argument: a side that is 0 or too large,
  // spans that do not have the sizes, an output that overlaps an input; resource_exhausted: product_multiplications_max.
  static Result<Product> of(std::span<const float> left, std::span<const float> right, std::span<float> out, uint32_t m, uint32_t k,
                            uint32_t n, bool transposed);
  // out[i][j] = left row i . row j of the tensor. Besides: unsupported, for a tensor without products.
  static Result<Product> of(std::span<const float> left, const Tensor& right, std::span<float> out, uint32_t rows);

  // Computes a slice; false when all is done. The error is memory.
  Result<bool> advance();

 private:
  enum class Right : uint8_t { columns, rows, tensor };
  struct Slice {
    uint32_t row, rows;  // of the left side
    uint32_t column, columns;
  };
  Product() = default;
  void set(const float* left, float* out, uint32_t m, uint32_t k, uint32_t n);
  Result<void> compute(const Slice& slice) const;

  Right kind_ = Right::rows;
  const float* left_ = nullptr;
  const float* right_ = nullptr;
  Tensor tensor_;
  float* out_ = nullptr;
  uint32_t m_ = 0, k_ = 0, n_ = 0;
  uint32_t slice_rows_ = 0, slice_columns_ = 0;
  uint32_t row_ = 0, column_ = 0;  // of the next slice
};

}  // namespace realm::engine
