// The functions of module env: weights of models, and products. A program computes with them on its own CPU time.
#include "runtime/abi_answer.h"
#include "runtime/generation.h"

namespace realm::runtime {
namespace {

constexpr size_t metadata_key_bytes_max = 128;
constexpr size_t tensor_name_bytes_max = 128;

}  // namespace

int32_t Generation::memory64_is_enabled(sandbox::HostCall&) { return allowance_.tensors() ? 1 : 0; }

int32_t Generation::memory64_stats(sandbox::HostCall&, int32_t model, realm_weights_stats_t& stats) {
  if (!allowance_.tensors()) return REALM_LIMIT;
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const engine::Model& known = *open->loaded->model;
  stats = {.bytes = known.info().weights_bytes,
           .parameters = known.info().parameters,
           .tensors = known.tensors().count(),
           .layers = known.tensors().layers()};
  return REALM_OK;
}

int32_t Generation::memory64_metadata(sandbox::HostCall&, int32_t model, std::span<const uint8_t> key, std::span<uint8_t> value) {
  if (!allowance_.tensors()) return REALM_LIMIT;
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  if (key.size() > metadata_key_bytes_max) return REALM_NOT_FOUND;
  const auto found = open->loaded->model->metadata(as_text(key));
  return found ? fill(value, *found) : static_cast<int32_t>(REALM_NOT_FOUND);
}

int32_t Generation::memory64_load_layer(sandbox::HostCall&, int32_t model, uint32_t layer) {
  if (!allowance_.tensors()) return REALM_LIMIT;
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const engine::Tensors& tensors = open->loaded->model->tensors();
  return layer < tensors.layers() ? static_cast<int32_t>(tensors.load_layer(layer)) : static_cast<int32_t>(REALM_INVALID_ARGUMENT);
}

int32_t Generation::memory64_tensor(sandbox::HostCall&, int32_t model, std::span<const uint8_t> name) {
  if (!allowance_.tensors()) return REALM_LIMIT;
  const OpenModel* open = handles_.find<OpenModel>(model);
  if (open == nullptr) return REALM_BAD_HANDLE;
  if (name.size() > tensor_name_bytes_max) return REALM_NOT_FOUND;
  const engine::Tensor* tensor = open->loaded->model->tensors().find(as_text(name));
  if (tensor == nullptr) return REALM_NOT_FOUND;
  return handles_.insert(OpenTensor{open->loaded, *tensor}).value_or(REALM_LIMIT);
}

int32_t Generation::memory64_tensor_info(sandbox::HostCall&, int32_t tensor, realm_tensor_info_t& info) {
  const OpenTensor* open = handles_.find<OpenTensor>(tensor);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const engine::Tensor& known = open->tensor;
  info = {.bytes = known.bytes, .columns = known.columns, .rows = known.rows, .readable = known.readable, .products = known.products};
  return REALM_OK;
}

int32_t Generation::memory64_tensor_type(sandbox::HostCall&, int32_t tensor, std::span<uint8_t> destination) {
  const OpenTensor* open = handles_.find<OpenTensor>(tensor);
  return open == nullptr ? static_cast<int32_t>(REALM_BAD_HANDLE) : fill(destination, engine::type_name(open->tensor));
}

int32_t Generation::memory64_tensor_close(sandbox::HostCall&, int32_t tensor) {
  return handles_.erase<OpenTensor>(tensor) ? REALM_OK : REALM_BAD_HANDLE;
}

int32_t Generation::memory64_read(sandbox::HostCall&, int32_t tensor, uint32_t row, std::span<float> values) {
  const OpenTensor* open = handles_.find<OpenTensor>(tensor);
  if (open == nullptr) return REALM_BAD_HANDLE;
  const auto read = engine::read_rows(open->tensor, row, values);
  return read ? static_cast<int32_t>(values.size()) : status_of(read.error());
}

// -- products

// What is multiplied lies in the guest's memory, which stays where and as it is until the product is done: the guest waits for it.
std::optional<int32_t> Generation::multiply(sandbox::HostCall& call, const std::function<Result<engine::Product>()>& begin) {
  if (!allowance_.tensors()) return REALM_LIMIT;
  if (!product_) {
    auto begun = begin();
    if (!begun) return status_of(begun.error());
    product_ = *begun;
  }
  while (true) {
    const auto more = product_->advance();
    if (more && *more && call.turn_is_over()) return std::nullopt;
    if (more && *more) continue;
    product_.reset();
    return more ? static_cast<int32_t>(REALM_OK) : static_cast<int32_t>(REALM_UNAVAILABLE);
  }
}

std::optional<int32_t> Generation::candle_matmul(sandbox::HostCall& call, std::span<const float> a, std::span<const float> b,
                                                 std::span<float> out, uint32_t m, uint32_t k, uint32_t n) {
  return multiply(call, [&] { return engine::Product::of(a, b, out, m, k, n, false); });
}

std::optional<int32_t> Generation::candle_matmul_transposed(sandbox::HostCall& call, std::span<const float> a, std::span<const float> b,
                                                            std::span<float> out, uint32_t m, uint32_t k, uint32_t n) {
  return multiply(call, [&] { return engine::Product::of(a, b, out, m, k, n, true); });
}

std::optional<int32_t> Generation::candle_matmul_tensor(sandbox::HostCall& call, int32_t tensor, std::span<const float> x,
                                                        std::span<float> out, uint32_t rows) {
  const OpenTensor* open = handles_.find<OpenTensor>(tensor);
  if (open == nullptr) return REALM_BAD_HANDLE;
  return multiply(call, [&] { return engine::Product::of(x, open->tensor, out, rows); });
}

}  // namespace realm::runtime
