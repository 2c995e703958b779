#include "kernels/multiplication.h"

#include <ggml.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "kernels/tested_sets.h"

namespace realm::kernels {
namespace {

struct Type {
  WeightType type;
  ggml_type native;
};

constexpr Type types[] = {{WeightType::q4_0, GGML_TYPE_Q4_0}, {WeightType::q4_1, GGML_TYPE_Q4_1}, {WeightType::q5_0, GGML_TYPE_Q5_0},
                          {WeightType::q5_1, GGML_TYPE_Q5_1}, {WeightType::q8_0, GGML_TYPE_Q8_0}, {WeightType::q4_k, GGML_TYPE_Q4_K},
                          {WeightType::q5_k, GGML_TYPE_Q5_K}, {WeightType::q6_k, GGML_TYPE_Q6_K}, {WeightType::f16, GGML_TYPE_F16}};

constexpr int rows_of_panels = 64;  // a multiple of what any set and type has in a panel

// Made weights in one of ggml's types, and what they stand for.
struct Weights {
  Weights(ggml_type type, int rows_of, int size_of, std::mt19937& random) : rows(rows_of), size(size_of) {
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(rows * size));
    for (float& value : values) value = normal(random) + 0.3f;
    bytes.resize(ggml_row_size(type, size) * static_cast<size_t>(rows));
    ggml_quantize_chunk(type, values.data(), bytes.data(), 0, rows, size, nullptr);
    meaning.resize(values.size());
    for (int row = 0; row < rows; ++row) {
      ggml_get_type_traits(type)->to_float(bytes.data() + ggml_row_size(type, size) * static_cast<size_t>(row),
                                           meaning.data() + static_cast<size_t>(row * size), size);
    }
  }

  int rows, size;
  std::vector<char> bytes;
  std::vector<float> meaning;
};

// What rounding floats at each step of a sum may change, and that of activations to 255 steps in each block before it.
double bound(WeightType type, const float* weights, const float* activations, int size) {
  double magnitudes = 0;
  for (int i = 0; i < size; ++i) magnitudes += std::abs(static_cast<double>(weights[i]) * static_cast<double>(activations[i]));
  if (type == WeightType::f16) return 4e-6 * magnitudes + 1e-30;
  double sum = 4e-6 * magnitudes + 1e-5;
  for (int block = 0; block < size; block += weight_block) {
    float largest = 0;
    double weights_sum = 0;
    for (int i = block; i < block + weight_block; ++i) {
      largest = std::max(largest, std::abs(activations[i]));
      weights_sum += std::abs(static_cast<double>(weights[i]));
    }
    sum += static_cast<double>(largest) / 254 * weights_sum;
  }
  return sum * 1.001;
}

// Of the product in units of the bound at which it may be wrong: the largest, and the typical one.
struct Error {
  double largest = 0;
  double mean = 0;
};

struct Product {
  std::vector<float> activations;  // [column][size]
  std::vector<float> out;          // [column][row]
};

Product multiply(const NamedSet& set, const Type& type, const Weights& weights, std::vector<float> activations, int workers) {
  const auto size = static_cast<size_t>(weights.size), rows = static_cast<size_t>(weights.rows);
  const size_t columns = activations.size() / size;
  Product product{.activations = std::move(activations), .out = std::vector<float>(rows * columns, NAN)};
  const size_t bytes = set.kernels->packed_bytes(type.type, weights.rows, weights.size);
  const Work packed = make_work((bytes + 63) / 64 * 64);
  set.kernels->pack_weights(type.type, weights.rows, weights.size, weights.bytes.data(), static_cast<char*>(packed.get()));
  const Multiplication task{.type = type.type,
                            .weights = static_cast<const char*>(packed.get()),
                            .rows = weights.rows,
                            .size = weights.size,
                            .activations = {reinterpret_cast<const char*>(product.activations.data()), size * sizeof(float), 0, 0},
                            .inner_columns = static_cast<int>(columns),
                            .columns = static_cast<int>(columns),
                            .out = product.out.data(),
                            .out_step = rows * sizeof(float)};
  const Work work = make_work(set.kernels->multiply_work_bytes(task));
  work_together(workers, [&](const Worker& worker) { set.kernels->multiply(task, worker, work.get()); });
  return product;
}

std::vector<float> made_activations(size_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> activations(count);
  for (float& value : activations) value = normal(random);
  std::fill_n(activations.end() - weight_block, weight_block, 0.0f);
  return activations;
}

Error error_of(const NamedSet& set, const Type& type, const Weights& weights, int columns, int workers, std::mt19937& random) {
  const auto size = static_cast<size_t>(weights.size), rows = static_cast<size_t>(weights.rows);
  const Product product = multiply(set, type, weights, made_activations(size * static_cast<size_t>(columns), random), workers);
  Error error;
  for (size_t column = 0; column < static_cast<size_t>(columns); ++column) {
    for (size_t row = 0; row < rows; ++row) {
      const float *w = weights.meaning.data() + row * size, *x = product.activations.data() + column * size;
      double expected = 0;
      for (size_t i = 0; i < size; ++i) expected += static_cast<double>(w[i]) * static_cast<double>(x[i]);
      const double part = std::abs(static_cast<double>(product.out[column * rows + row]) - expected) / bound(type.type, w, x, weights.size);
      error.largest = part <= error.largest ? error.largest : part;  // also takes what is not a number
      error.mean += part / static_cast<double>(rows * static_cast<size_t>(columns));
    }
  }
  return error;
}

// To the last bit: a sequence gets the same tokens whoever computes beside it, and however its prompt was cut.
TEST(MultiplicationTest, AColumnDoesNotDependOnThoseBesideIt) {
  constexpr int size = 1'280;
  std::mt19937 random(3);
  for (const Type& type : types) {
    const Weights weights(type.native, rows_of_panels, size, random);
    for (const NamedSet& set : sets_that_run_here()) {
      for (const int columns : {6, 15, 37}) {
        const Product together = multiply(set, type, weights, made_activations(static_cast<size_t>(columns * size), random), 2);
        for (std::ptrdiff_t column = 0; column < columns; ++column) {
          const auto begin = together.activations.begin() + column * size;
          const Product alone = multiply(set, type, weights, {begin, begin + size}, 1);
          EXPECT_TRUE(std::equal(alone.out.begin(), alone.out.end(), together.out.begin() + column * rows_of_panels))
              << set.name << " " << ggml_type_name(type.native) << " " << column << " of " << columns;
        }
      }
    }
  }
}

TEST(MultiplicationTest, EachTypeAgreesWithWhatItsWeightsStandFor) {
  std::mt19937 random(1);
  for (const Type& type : types) {
    const bool is_float = type.type == WeightType::f16;
    for (const int rows : is_float ? std::array{rows_of_panels, 3 * rows_of_panels} : std::array{16, 80}) {
      for (const int size : {256, 768}) {
        const Weights weights(type.native, rows, size, random);
        for (const int columns : {1, 2, 3, 4, 7, 16, 21, 41}) {
          for (const NamedSet& set : sets_that_run_here()) {
            for (const int workers : {1, 3}) {
              const Error error = error_of(set, type, weights, columns, workers, random);
              EXPECT_LE(error.largest, 1) << set.name << " " << ggml_type_name(type.native) << " " << rows << " x " << size << " "
                                          << columns;
              EXPECT_LE(error.mean, 0.1) << set.name << " " << ggml_type_name(type.native);
            }
          }
        }
      }
    }
  }
}

TEST(MultiplicationTest, ManyColumnsAreTakenInPartsThatFitTheCache) {
  std::mt19937 random(2);
  const Weights weights(GGML_TYPE_Q4_1, 32, 2'048, random);
  for (const NamedSet& set : sets_that_run_here()) EXPECT_LE(error_of(set, types[1], weights, 301, 2, random).largest, 1) << set.name;
}

TEST(MultiplicationTest, RowsThatFillNoPanelAreNotPacked) {
  for (const NamedSet& set : sets_that_run_here()) {
    for (const Type& type : types) {
      EXPECT_EQ(set.kernels->packed_bytes(type.type, 33, 256), 0);
      EXPECT_EQ(set.kernels->packed_bytes(type.type, 32, 256 + 16), 0);
      EXPECT_GE(set.kernels->packed_bytes(type.type, rows_of_panels, 256), rows_of_panels * ggml_row_size(type.native, 256));
    }
  }
}

}  // namespace
}  // namespace realm::kernels
