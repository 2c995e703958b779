// Exercises module env with the kit and by hand, and says in the end how it went. Compiled and run by test_program_abi.py.
#include "realm_tensor.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

namespace {

using Values = std::vector<float>;

void expect(bool holds, const char* what) {
  if (!holds) realm::fail(REALM_FAIL_PROGRAM, std::string("not so: ") + what);
}

int32_t open(const realm::Model& model, std::string_view name) {
  return memory64_tensor(model.handle(), reinterpret_cast<const uint8_t*>(name.data()), static_cast<uint32_t>(name.size()));
}

void look_at_the_model(const realm::Model& model) {
  expect(memory64_is_enabled() == 1, "without a manifest a program may use tensors");
  realm_weights_stats_t stats{};
  expect(memory64_stats(model.handle(), &stats) == REALM_OK, "the model has stats");
  expect(stats.tensors >= 9 * stats.layers + 3 && stats.bytes > 0 && stats.parameters > 0, "stats count tensors");
  expect(realm::metadata(model, "llama.block_count") == std::to_string(stats.layers), "metadata has the layers");
  expect(realm::metadata(model, "llama.block_counts").empty(), "metadata has no such key");
  for (uint32_t i = 0; i < stats.layers; ++i) expect(memory64_load_layer(model.handle(), i) == 9, "a layer has nine tensors");
  expect(memory64_load_layer(model.handle(), stats.layers) == REALM_INVALID_ARGUMENT, "there is no layer more");
  const realm::Tensor embedding(model, "token_embd.weight");
  expect(embedding.info().rows == model.info().vocabulary_tokens, "a row for each token");
  expect(embedding.row(1) != embedding.row(2), "rows of tokens differ");
  uint8_t type[16];
  const int32_t length = memory64_tensor_type(open(model, "output_norm.weight"), type, sizeof type);
  expect(std::string(type, type + length) == "f32", "norms are floats");
  expect(open(model, "blk.0") == REALM_NOT_FOUND && open(model, "") == REALM_NOT_FOUND, "names are whole names");
}

// Products with floats against sums made here.
void multiply_floats() {
  constexpr uint32_t m = 3, k = 70, n = 130;
  Values a(m * k), b(k * n), turned(k * n), out(m * n), again(m * n);
  for (uint32_t i = 0; i < a.size(); ++i) a[i] = std::sin(static_cast<float>(i));
  for (uint32_t i = 0; i < b.size(); ++i) b[i] = std::cos(static_cast<float>(i));
  for (uint32_t i = 0; i < k; ++i) {
    for (uint32_t j = 0; j < n; ++j) turned[j * k + i] = b[i * n + j];
  }
  expect(candle_matmul(a.data(), m * k, b.data(), k * n, out.data(), m * n, m, k, n) == REALM_OK, "a product");
  expect(candle_matmul_transposed(a.data(), m * k, turned.data(), k * n, again.data(), m * n, m, k, n) == REALM_OK, "a product of rows");
  for (uint32_t i = 0; i < m; ++i) {
    for (uint32_t j = 0; j < n; ++j) {
      float sum = 0;
      for (uint32_t at = 0; at < k; ++at) sum += a[i * k + at] * b[at * n + j];
      expect(std::abs(out[i * n + j] - sum) < 1e-4f && std::abs(again[i * n + j] - sum) < 1e-4f, "products are sums of products");
    }
  }
  const auto status = [&](uint32_t rows, uint32_t inner, uint32_t columns) {
    const int32_t one = candle_matmul(a.data(), m * k, b.data(), k * n, out.data(), m * n, rows, inner, columns);
    expect(one == candle_matmul_transposed(a.data(), m * k, b.data(), k * n, out.data(), m * n, rows, inner, columns), "both say the same");
    return one;
  };
  const Values before = out;
  expect(status(m, k, n + 1) == REALM_INVALID_ARGUMENT && status(m + 1, k, n) == REALM_INVALID_ARGUMENT, "sizes that are not the counts");
  expect(status(0, k, n) == REALM_INVALID_ARGUMENT && status(m, 0, n) == REALM_INVALID_ARGUMENT, "sizes of zero");
  expect(status(1u << 31, 1u << 31, 1u << 31) == REALM_INVALID_ARGUMENT, "sizes whose product wraps");
  expect(candle_matmul(a.data(), m * k, b.data(), k * n, a.data(), m * n, m, k, n) == REALM_INVALID_ARGUMENT, "an output over an input");
  expect(out == before, "a refused call writes nothing");
}

void multiply_by_a_tensor(const realm::Model& model) {
  const realm::Tensor weights(model, "blk.0.attn_k.weight");
  expect(weights.info().products == 1, "weights can be multiplied by");
  const uint32_t columns = weights.info().columns, rows = weights.info().rows;
  Values x(2 * columns);
  for (uint32_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
  const Values out = weights.times(x);
  const Values second = weights.times(Values(x.begin() + columns, x.end()));
  for (uint32_t i = 0; i < rows; ++i) expect(std::abs(out[rows + i] - second[i]) < 1e-3f, "a row does not depend on others");
  expect(std::any_of(out.begin(), out.end(), [](float value) { return value != 0; }), "weights are not nothing");
  x[3] = std::numeric_limits<float>::quiet_NaN();
  const Values odd = weights.times(x);
  for (uint32_t i = 0; i < rows; ++i) expect(std::isnan(odd[i]) && odd[rows + i] == out[rows + i], "NaN stays in its row");

  const int32_t handle = open(model, "blk.0.attn_k.weight");
  Values to(rows);
  const auto status = [&](int32_t tensor, uint32_t x_count, uint32_t out_count, uint32_t count) {
    return candle_matmul_tensor(tensor, x.data(), x_count, to.data(), out_count, count);
  };
  expect(status(handle, columns, rows, 1) == REALM_OK, "a product by hand");
  expect(status(handle, columns, rows, 2) == REALM_INVALID_ARGUMENT && status(handle, columns - 1, rows, 1) == REALM_INVALID_ARGUMENT &&
             status(handle, columns, rows - 1, 1) == REALM_INVALID_ARGUMENT && status(handle, 0, 0, 0) == REALM_INVALID_ARGUMENT,
         "sizes that do not fit the tensor");
  expect(status(model.handle(), columns, rows, 1) == REALM_BAD_HANDLE && status(0, columns, rows, 1) == REALM_BAD_HANDLE,
         "what is no tensor");
  expect(memory64_tensor_close(handle) == REALM_OK && memory64_tensor_close(handle) == REALM_BAD_HANDLE, "a tensor is closed once");
  expect(status(handle, columns, rows, 1) == REALM_BAD_HANDLE, "a closed tensor is none");
  const int32_t norm = open(model, "output_norm.weight");
  expect(memory64_read(norm, 0, x.data(), columns + 1) == REALM_INVALID_ARGUMENT, "rows are whole rows");
  expect(memory64_read(norm, 1, x.data(), columns) == REALM_INVALID_ARGUMENT, "a vector has one row");
  expect(memory64_read(norm, 0, x.data(), 0) == 0, "no rows are no rows");
}

void meet_the_limits(const realm::Model& model) {
  std::vector<int32_t> opened;
  int32_t handle = 0;
  while ((handle = open(model, "output_norm.weight")) > 0) opened.push_back(handle);
  expect(handle == REALM_LIMIT && opened.size() > 200 && opened.size() < 256, "tensors are handles, of which there is a number");
  for (const int32_t one : opened) expect(memory64_tensor_close(one) == REALM_OK, "all are closed");
  // 2^34 multiplications are the most; 2,581 is the least number whose cube is more.
  constexpr uint32_t side = 2'581, values = side * side;
  const Values square(values);
  Values out(values, 7);
  expect(candle_matmul(square.data(), values, square.data(), values, out.data(), values, side, side, side) == REALM_LIMIT, "too large");
  expect(out.front() == 7 && out.back() == 7, "what is too large is not begun");
}

}  // namespace

REALM_EXPORT("handle") int32_t handle() {
  const realm::Model model("");
  look_at_the_model(model);
  multiply_floats();
  multiply_by_a_tensor(model);
  meet_the_limits(model);
  realm::emit(REALM_EMIT_TEXT, "all of it holds");
  return 0;
}
