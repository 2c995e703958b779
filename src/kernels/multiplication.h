// One multiplication of weights with activations as the kernels see it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/vectors.h"

namespace realm::kernels {

// Layouts of weights that have a packed form here, by ggml's names.
enum class WeightType : uint8_t { q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k, f16 };

constexpr int weight_block = 32;  // values of a row that share their scale

// out[column][row] = weights[row] . activations[column]. Columns may be counted in up to three dimensions.
struct Multiplication {
  WeightType type = WeightType::q4_1;
  const char* weights = nullptr;  // packed
  int rows = 0;
  int size = 0;            // of a row
  Vectors activations;     // float
  int inner_columns = 0;   // in the first dimension
  int middle_columns = 1;  // in the second
  int columns = 0;         // in all
  float* out = nullptr;
  size_t out_step = 0;  // bytes

  float* result(int index) const { return reinterpret_cast<float*>(reinterpret_cast<char*>(out) + static_cast<size_t>(index) * out_step); }

  const float* column(int index) const {
    const int outer = index / inner_columns;
    return reinterpret_cast<const float*>(activations.at(index % inner_columns, outer % middle_columns, outer / middle_columns));
  }
};

}  // namespace realm::kernels
