#include "engine/products.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/model.h"

namespace realm::engine {
namespace {

using Values = std::vector<float>;

Values random_values(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Values values(count);
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

// How many slices it took.
int finish(Result<Product> product) {
  EXPECT_TRUE(product) << product.error().message;
  int slices = 1;
  while (product) {
    const auto more = product->advance();
    EXPECT_TRUE(more);
    if (!more || !*more) break;
    ++slices;
  }
  return slices;
}

// As the definition has it; `step` from one value of a column of the right side to the next.
float element(const Values& left, const Values& right, size_t i, size_t j, size_t k, size_t n, bool transposed) {
  double sum = 0;
  for (size_t at = 0; at < k; ++at) {
    sum += double{left[i * k + at]} * double{transposed ? right[j * k + at] : right[at * n + j]};
  }
  return static_cast<float>(sum);
}

struct Shape {
  uint32_t m, k, n;
  int slices_min;
};

class ProductsOfFloats : public ::testing::TestWithParam<Shape> {};

TEST_P(ProductsOfFloats, AreWhatTheDefinitionSays) {
  const auto [m, k, n, slices_min] = GetParam();
  const Values left = random_values(size_t{m} * k, 1), right = random_values(size_t{k} * n, 2);
  for (const bool transposed : {false, true}) {
    Values out(size_t{m} * n, 77);
    EXPECT_GE(finish(Product::of(left, right, out, m, k, n, transposed)), slices_min);
    const size_t step = std::max<size_t>(1, out.size() / 997);
    for (size_t at = 0; at < out.size(); at += step) {
      const float expected = element(left, right, at / n, at % n, k, n, transposed);
      ASSERT_NEAR(out[at], expected, 1e-4f * std::sqrt(static_cast<float>(k))) << m << " " << k << " " << n << " at " << at;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, ProductsOfFloats,
                         ::testing::Values(Shape{1, 1, 1, 1}, Shape{3, 5, 7, 1}, Shape{1, 576, 1536, 1}, Shape{2, 100'000, 3, 1},
                                           Shape{65, 33, 129, 2}, Shape{1, 64, 300'000, 2}, Shape{70, 1'000, 1'001, 8}));

TEST(Products, RefuseWhatHasNotTheSizesStated) {
  Values a(6), b(6), out(4);
  const auto code = [&](uint32_t m, uint32_t k, uint32_t n) { return Product::of(a, b, out, m, k, n, true).error().code; };
  EXPECT_TRUE(Product::of(a, b, out, 2, 3, 2, true));
  EXPECT_EQ(code(2, 3, 3), ErrorCode::invalid_argument);
  EXPECT_EQ(code(3, 2, 2), ErrorCode::invalid_argument);
  EXPECT_EQ(code(0, 3, 2), ErrorCode::invalid_argument);
  EXPECT_EQ(code(2, 0, 2), ErrorCode::invalid_argument);
  EXPECT_EQ(code(UINT32_MAX, UINT32_MAX, UINT32_MAX), ErrorCode::invalid_argument);
  // Sizes whose products wrap to those of the spans.
  EXPECT_EQ(code(1u << 31, 3, 2), ErrorCode::invalid_argument);
  EXPECT_EQ(code(2, 0x80000003u, 2), ErrorCode::invalid_argument);
}

TEST(Products, RefuseAnOutputThatOverlapsAnInput) {
  Values memory(64);
  const std::span<float> all(memory);
  const auto of = [&](size_t a, size_t b, size_t out, bool transposed) {
    return Product::of(all.subspan(a, 4), all.subspan(b, 4), all.subspan(out, 4), 2, 2, 2, transposed);
  };
  for (const bool transposed : {false, true}) {
    EXPECT_TRUE(of(0, 0, 4, transposed));
    EXPECT_TRUE(of(4, 8, 0, transposed));
    for (const size_t out : {0u, 1u, 3u, 9u, 11u, 13u, 15u}) {
      EXPECT_EQ(of(0, 12, out, transposed).has_value(), out >= 4 && out <= 8) << out;
    }
  }
}

TEST(Products, RefuseMoreMultiplicationsThanTheLimit) {
  constexpr uint32_t side = 1u << 12;
  Values a(size_t{side} * side), out(size_t{side} * side);
  const Values b(a.size());
  EXPECT_EQ(Product::of(a, b, out, side, side, side, true).error().code, ErrorCode::resource_exhausted);
  const auto some = std::span(a).first(size_t{side} * (side / 4));
  EXPECT_TRUE(Product::of(some, b, std::span(out).first(some.size()), side / 4, side, side, true)) << "the limit itself is allowed";
}

class ProductsOfTensors : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const char* file = std::getenv(GetParam());
    ASSERT_NE(file, nullptr) << "set " << GetParam();
    model_ = loaded_[file];
    if (model_ != nullptr) return;
    auto model = Model::load({.file = file, .backend = BackendChoice::cpu});
    ASSERT_TRUE(model) << model.error().message;
    loaded_[file] = model_ = *model;
  }
  static void TearDownTestSuite() { loaded_.clear(); }
  // Row by row by one-hot vectors, which is what the weights are.
  Values weights(const Tensor& tensor) const {
    Values unit(size_t{tensor.columns} * tensor.columns), out(size_t{tensor.columns} * tensor.rows);
    for (uint32_t i = 0; i < tensor.columns; ++i) unit[size_t{i} * tensor.columns + i] = 1;
    finish(Product::of(unit, tensor, out, tensor.columns));
    return out;  // [column][row]
  }
  std::shared_ptr<Model> model_;
  static inline std::map<std::string, std::shared_ptr<Model>> loaded_;
};

TEST_P(ProductsOfTensors, AreNearWhatTheWeightsGive) {
  for (const char* name : {"blk.0.attn_k.weight", "blk.1.ffn_down.weight"}) {
    const Tensor* tensor = model_->tensors().find(name);
    ASSERT_NE(tensor, nullptr);
    ASSERT_TRUE(tensor->products);
    const Values w = weights(*tensor);
    constexpr uint32_t rows = 5;
    const Values x = random_values(size_t{rows} * tensor->columns, 3);
    Values out(size_t{rows} * tensor->rows);
    finish(Product::of(x, *tensor, out, rows));
    double error = 0, size = 0;
    for (size_t at = 0; at < out.size(); ++at) {
      const float expected = element(x, w, at / tensor->rows, at % tensor->rows, tensor->columns, tensor->rows, false);
      error += std::pow(out[at] - expected, 2);
      size += std::pow(expected, 2);
    }
    EXPECT_LT(std::sqrt(error / size), 0.02) << name << ": activations are rounded to 8 bits";
    EXPECT_GT(size, 0);
  }
}

TEST_P(ProductsOfTensors, AreTheSameWhateverRowsAreBesideOrHowTheyAreSliced) {
  const Tensor* tensor = model_->tensors().find("output.weight");
  ASSERT_NE(tensor, nullptr);
  constexpr uint32_t rows = 70;
  const Values x = random_values(size_t{rows} * tensor->columns, 4);
  Values together(size_t{rows} * tensor->rows), alone(tensor->rows);
  EXPECT_GT(finish(Product::of(x, *tensor, together, rows)), 2);
  for (const uint32_t row : {0u, 63u, 64u, 69u}) {
    finish(Product::of(std::span(x).subspan(size_t{row} * tensor->columns, tensor->columns), *tensor, alone, 1));
    float largest = 0;
    for (uint32_t i = 0; i < tensor->rows; ++i) largest = std::max(largest, std::abs(alone[i] - together[size_t{row} * tensor->rows + i]));
    EXPECT_LT(largest, 1e-3f) << row;
  }
}

TEST_P(ProductsOfTensors, ARowWithWhatIsNoNumberGivesNoneAndTheOthersAreWhatTheyWere) {
  const Tensor* tensor = model_->tensors().find("blk.0.attn_q.weight");
  ASSERT_NE(tensor, nullptr);
  constexpr uint32_t rows = 3;
  Values x = random_values(size_t{rows} * tensor->columns, 5), before(size_t{rows} * tensor->rows), after(before.size());
  finish(Product::of(x, *tensor, before, rows));
  for (const float odd : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    x[size_t{tensor->columns} * 2 - 1] = odd;
    finish(Product::of(x, *tensor, after, rows));
    for (uint32_t i = 0; i < tensor->rows; ++i) {
      ASSERT_TRUE(std::isnan(after[tensor->rows + i]));
      ASSERT_EQ(after[i], before[i]);
      ASSERT_EQ(after[2 * tensor->rows + i], before[2 * tensor->rows + i]);
    }
  }
}

TEST_P(ProductsOfTensors, RunOnManyThreadsAtOnce) {
  const Tensor* tensor = model_->tensors().find("blk.0.ffn_up.weight");
  ASSERT_NE(tensor, nullptr);
  const Values x = random_values(tensor->columns, 6);
  Values expected(tensor->rows);
  finish(Product::of(x, *tensor, expected, 1));
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      Values out(tensor->rows);
      for (int j = 0; j < 50; ++j) {
        finish(Product::of(x, *tensor, out, 1));
        EXPECT_EQ(out, expected);
      }
    });
  }
}

TEST_P(ProductsOfTensors, TensorsHaveNamesShapesAndRows) {
  const Tensors& tensors = model_->tensors();
  EXPECT_EQ(tensors.find("blk.0"), nullptr);
  EXPECT_EQ(tensors.find(""), nullptr);
  EXPECT_EQ(tensors.find(std::string(5'000, 'x')), nullptr);
  EXPECT_EQ(tensors.load_layer(0), 9u);
  EXPECT_EQ(tensors.load_layer(tensors.layers()), 0u);
  const Tensor* embedding = tensors.find("token_embd.weight");
  const Tensor* head = tensors.find("output.weight");
  ASSERT_TRUE(embedding != nullptr && head != nullptr);
  EXPECT_EQ(embedding->rows, model_->info().vocabulary_tokens);
  EXPECT_EQ(head->rows, embedding->rows);
  EXPECT_EQ(head->columns, embedding->columns);
  EXPECT_FALSE(tensors.find("output_norm.weight")->rows != 1);
  EXPECT_EQ(model_->metadata("general.architecture"), "llama");
  EXPECT_EQ(model_->metadata("general.architectures"), std::nullopt);
  EXPECT_EQ(model_->metadata(std::string_view("general.architecture\0", 21)), std::nullopt);
}

TEST_P(ProductsOfTensors, RowsAreReadAsFloats) {
  const Tensor* embedding = model_->tensors().find("token_embd.weight");
  ASSERT_TRUE(embedding != nullptr && embedding->readable);
  Values rows(3 * size_t{embedding->columns}), again(embedding->columns);
  ASSERT_TRUE(read_rows(*embedding, 7, rows));
  ASSERT_TRUE(read_rows(*embedding, 9, again));
  EXPECT_TRUE(std::equal(again.begin(), again.end(), rows.end() - embedding->columns));
  EXPECT_GT(*std::max_element(rows.begin(), rows.end()), 0);
  const auto code = [&](uint32_t row, size_t count) { return read_rows(*embedding, row, std::span(rows).first(count)).error().code; };
  EXPECT_EQ(code(embedding->rows, embedding->columns), ErrorCode::invalid_argument);
  EXPECT_EQ(code(embedding->rows - 1, 2 * size_t{embedding->columns}), ErrorCode::invalid_argument);
  EXPECT_EQ(code(UINT32_MAX, embedding->columns), ErrorCode::invalid_argument);
  EXPECT_EQ(code(0, embedding->columns + 1), ErrorCode::invalid_argument);
  EXPECT_TRUE(read_rows(*embedding, embedding->rows - 1, again));
  Values many(size_t{read_values_max} / embedding->columns * embedding->columns + embedding->columns);
  EXPECT_EQ(read_rows(*embedding, 0, many).error().code, ErrorCode::resource_exhausted);
}

INSTANTIATE_TEST_SUITE_P(Models, ProductsOfTensors, ::testing::Values("REALM_MODEL", "REALM_TINY_MODEL"));

}  // namespace
}  // namespace realm::engine
