#include "kernels/extension.h"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>
#include <gtest/gtest.h>
#include <llama_cpu_variant.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string_view>
#include <vector>

#include "kernels/known_sets.h"

namespace realm::kernels {
namespace {

struct Shape {
  int64_t size = 64;
  int64_t tokens = 1;
  int64_t heads = 9;
  int64_t kv_heads = 3;
  int64_t streams = 1;
  int64_t positions = 256;
  ggml_type type = GGML_TYPE_F16;
  float max_bias = 0;
  float softcap = 0;
  bool sinks = false;
};

// Tensors of one graph with the CPU back end that this process has chosen.
class ExtensionTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { install(); }

  void SetUp() override {
    const auto registry = realm_chosen_cpu_variant().registry();
    backend_.reset(ggml_backend_dev_init(ggml_backend_reg_dev_get(registry, 0), nullptr));
    const auto set_threads =
        reinterpret_cast<ggml_backend_set_n_threads_t>(ggml_backend_reg_get_proc_address(registry, "ggml_backend_set_n_threads"));
    set_threads(backend_.get(), 2);
    context_.reset(
        ggml_init({.mem_size = 128 * ggml_tensor_overhead() + 12 * ggml_graph_overhead(), .mem_buffer = nullptr, .no_alloc = true}));
  }
  void TearDown() override { use(true); }

  // As llama.cpp builds it: keys and values lie as [position][head], the heads of a query likewise.
  ggml_tensor* attention(const Shape& s) {
    ggml_context* c = context_.get();
    ggml_tensor* q = ggml_permute(c, ggml_new_tensor_4d(c, GGML_TYPE_F32, s.size, s.heads, s.tokens, s.streams), 0, 2, 1, 3);
    ggml_tensor* k = ggml_permute(c, ggml_new_tensor_4d(c, s.type, s.size, s.kv_heads, s.positions, s.streams), 0, 2, 1, 3);
    ggml_tensor* v = ggml_permute(c, ggml_new_tensor_4d(c, s.type, s.size, s.kv_heads, s.positions, s.streams), 0, 2, 1, 3);
    mask_ = ggml_new_tensor_4d(c, GGML_TYPE_F16, s.positions, s.tokens, 1, s.streams);
    ggml_tensor* out = ggml_flash_attn_ext(c, q, k, v, mask_, 1 / std::sqrt(static_cast<float>(s.size)), s.max_bias, s.softcap);
    if (s.sinks) ggml_flash_attn_ext_add_sinks(out, ggml_new_tensor_1d(c, GGML_TYPE_F32, s.heads));
    return out;
  }

  void fill(ggml_tensor* op) {
    buffer_.reset(ggml_backend_alloc_ctx_tensors(context_.get(), backend_.get()));
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (ggml_tensor* tensor = ggml_get_first_tensor(context_.get()); tensor != nullptr;
         tensor = ggml_get_next_tensor(context_.get(), tensor)) {
      if (tensor == op || tensor->view_src != nullptr) continue;
      std::vector<float> values(static_cast<size_t>(ggml_nelements(tensor)));
      for (float& value : values) value = normal(random);
      if (tensor == mask_) {  // a causal one, half as long as it could be
        for (size_t i = 0; i < values.size(); ++i) {
          const auto position = static_cast<int64_t>(i) % mask_->ne[0], token = static_cast<int64_t>(i) / mask_->ne[0] % mask_->ne[1];
          values[i] = position < mask_->ne[0] / 2 + token ? -std::abs(values[i]) : -INFINITY;
        }
      }
      std::vector<char> bytes(ggml_nbytes(tensor));
      ggml_quantize_chunk(tensor->type, values.data(), bytes.data(), 0, ggml_nrows(tensor), tensor->ne[0], nullptr);
      if (tensor->type == GGML_TYPE_F32) std::memcpy(bytes.data(), values.data(), bytes.size());
      ggml_backend_tensor_set(tensor, bytes.data(), 0, bytes.size());
    }
  }

  // With ggml's own kernels when no set is named.
  std::vector<float> compute(ggml_tensor* op, std::string_view set) {
    use(false);
    use_set(set);
    EXPECT_EQ(in_use(), set);
    std::vector<float> result(static_cast<size_t>(ggml_nelements(op)), NAN);
    ggml_backend_tensor_set(op, result.data(), 0, ggml_nbytes(op));
    ggml_cgraph* graph = ggml_new_graph(context_.get());
    ggml_build_forward_expand(graph, op);
    EXPECT_EQ(ggml_backend_graph_compute(backend_.get(), graph), GGML_STATUS_SUCCESS);
    ggml_backend_tensor_get(op, result.data(), 0, ggml_nbytes(op));
    return result;
  }

  // The largest difference between any of our sets and ggml, where values are about 1.
  double difference(ggml_tensor* op) {
    fill(op);
    const auto theirs = compute(op, "");
    double worst = 0;
    for (const NamedSet& set : known_sets()) {
      const auto ours = compute(op, set.name);
      for (size_t i = 0; i < ours.size(); ++i) {
        const double found = std::abs(static_cast<double>(ours[i]) - static_cast<double>(theirs[i]));
        worst = found <= worst ? worst : found;
      }
    }
    return worst;
  }

  struct Free {
    void operator()(ggml_backend* backend) const { ggml_backend_free(backend); }
    void operator()(ggml_context* context) const { ggml_free(context); }
    void operator()(ggml_backend_buffer* buffer) const { ggml_backend_buffer_free(buffer); }
  };
  std::unique_ptr<ggml_backend, Free> backend_;
  std::unique_ptr<ggml_context, Free> context_;
  std::unique_ptr<ggml_backend_buffer, Free> buffer_;
  ggml_tensor* mask_ = nullptr;
};

constexpr double rounding_of_halves = 4e-3;

class AttentionOfGgmlTest : public ExtensionTest, public ::testing::WithParamInterface<Shape> {};

TEST_P(AttentionOfGgmlTest, AgreesWithinTheRoundingOfHalves) {
  ggml_tensor* op = attention(GetParam());
  EXPECT_LT(difference(op), rounding_of_halves);
}

INSTANTIATE_TEST_SUITE_P(, AttentionOfGgmlTest,
                         ::testing::Values(Shape{}, Shape{.positions = 2'048}, Shape{.tokens = 70}, Shape{.streams = 7},
                                           Shape{.tokens = 5, .streams = 3}, Shape{.size = 128, .heads = 8, .kv_heads = 8},
                                           Shape{.type = GGML_TYPE_Q8_0}, Shape{.type = GGML_TYPE_BF16}, Shape{.max_bias = 8},
                                           Shape{.tokens = 20, .softcap = 10}, Shape{.sinks = true}, Shape{.tokens = 9, .sinks = true},
                                           Shape{.size = 80, .heads = 4, .kv_heads = 4}));  // the last is left to ggml

// Where the weights of a set lie: ours of ggml's list, in the order of the sets.
ggml_backend_buffer_type_t place_of(size_t set) {
  std::vector<ggml_backend_buffer_type_t> ours;
  for (ggml_backend_buffer_type_t place : realm_chosen_cpu_variant().extra_buffer_types()) {
    if (std::string_view(ggml_backend_buft_name(place)) == "Realm") ours.push_back(place);
  }
  return ours.at(set);
}

// llama.cpp chooses the place of weights like this.
bool takes_weights(ggml_context* context, size_t set, ggml_type type, int64_t size, int64_t rows) {
  ggml_tensor* weights = ggml_new_tensor_2d(context, type, size, rows);
  ggml_tensor* op = ggml_mul_mat(context, weights, ggml_new_tensor_2d(context, GGML_TYPE_F32, size, 3));
  ggml_backend_buffer_type_t place = place_of(set);
  weights->buffer = ggml_backend_buft_alloc_buffer(place, 0);
  const bool takes = ggml_backend_dev_supports_op(ggml_backend_buft_get_device(place), op);
  ggml_backend_buffer_free(weights->buffer);
  return takes;
}

TEST_F(ExtensionTest, TheSetInUseTakesWeightsThatItPacks) {
  if (in_use().empty()) GTEST_SKIP() << "this processor has no kernels of ours";
  for (size_t set = 0; set < known_sets().size(); ++set) {
    use_set(known_sets()[set].name);
    EXPECT_TRUE(takes_weights(context_.get(), set, GGML_TYPE_Q4_1, 576, 192));
    EXPECT_TRUE(takes_weights(context_.get(), set, GGML_TYPE_Q6_K, 512, 192));
    EXPECT_FALSE(takes_weights(context_.get(), set, GGML_TYPE_Q4_1, 576, 193));
    EXPECT_TRUE(takes_weights(context_.get(), set, GGML_TYPE_F16, 576, 192));
    EXPECT_FALSE(takes_weights(context_.get(), set, GGML_TYPE_BF16, 576, 192));
    EXPECT_FALSE(takes_weights(context_.get(), set, GGML_TYPE_F32, 576, 192));
    for (size_t other = 0; other < known_sets().size(); ++other) {
      EXPECT_EQ(takes_weights(context_.get(), other, GGML_TYPE_Q4_1, 576, 192), other == set);
    }
    use(false);
    EXPECT_FALSE(takes_weights(context_.get(), set, GGML_TYPE_Q4_1, 576, 192));
  }
}

TEST_F(ExtensionTest, PackedWeightsMultiplyColumnsOfThreeDimensions) {
  if (in_use().empty()) GTEST_SKIP() << "this processor has no kernels of ours";
  ggml_context* c = context_.get();
  ggml_tensor* weights = ggml_new_tensor_2d(c, GGML_TYPE_Q8_0, 64, 32);
  ggml_tensor* activations = ggml_permute(c, ggml_new_tensor_4d(c, GGML_TYPE_F32, 64, 3, 5, 2), 0, 2, 1, 3);
  ggml_tensor* op = ggml_mul_mat(c, weights, activations);
  fill(op);
  const auto theirs = compute(op, "");
  std::vector<char> bytes(ggml_nbytes(weights));
  ggml_backend_tensor_get(weights, bytes.data(), 0, bytes.size());
  // In the form of each set, which is then used whichever is in use for what has no form of its own.
  for (size_t set = 0; set < known_sets().size(); ++set) {
    ggml_backend_buffer_type_t place = place_of(set);
    std::unique_ptr<ggml_backend_buffer, Free> packed(
        ggml_backend_buft_alloc_buffer(place, ggml_backend_buft_get_alloc_size(place, weights)));
    weights->buffer = packed.get();
    weights->data = ggml_backend_buffer_get_base(packed.get());
    ggml_backend_tensor_set(weights, bytes.data(), 0, bytes.size());
    for (const std::string_view used : {known_sets().front().name, known_sets().back().name, std::string_view()}) {
      const auto ours = compute(op, used);
      for (size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], theirs[i], 1e-2) << known_sets()[set].name << " " << i;
    }
  }
}

TEST_F(ExtensionTest, WhatIsNotSupportedIsLeftToGgml) {
  ggml_tensor* op = attention({.size = 80, .heads = 4, .kv_heads = 4});
  EXPECT_EQ(difference(op), 0);
}

TEST_F(ExtensionTest, OursAreInUseWhereTheProcessorHasThem) {
  if (in_use().empty()) GTEST_SKIP() << "this processor has no kernels of ours";
  ggml_tensor* op = attention({});
  EXPECT_GT(difference(op), 0) << "ggml rounds queries to halves, we do not";
  use(false);
  EXPECT_EQ(in_use(), "");
}

}  // namespace
}  // namespace realm::kernels
