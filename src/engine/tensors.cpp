#include "engine/tensors.h"

#include <ggml-backend.h>
#include <ggml.h>
#include <llama.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

// All tensors of a model, those that are there twice included. llama.cpp's own, not in its public header.
const std::vector<std::pair<std::string, ggml_tensor*>>& llama_internal_get_tensor_map(const llama_model* model);

namespace realm::engine {
namespace {

constexpr std::string_view embedding_name = "token_embd.weight";
constexpr std::string_view output_name = "output.weight";

// Buffers of the CPU whose layout is its kernels' own have no such mark, but the CPU as their device.
bool is_of_cpu(const ggml_tensor* tensor) {
  if (tensor->buffer == nullptr) return false;
  if (ggml_backend_buffer_is_host(tensor->buffer)) return true;
  ggml_backend_dev_t device = ggml_backend_buft_get_device(ggml_backend_buffer_get_type(tensor->buffer));
  return device != nullptr && ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU;
}

bool is_plain(const ggml_tensor* tensor) { return tensor->buffer != nullptr && ggml_backend_buffer_is_host(tensor->buffer); }

bool converts(ggml_type type) { return type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float != nullptr; }

bool has_products(ggml_type type) {
  return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16 || ggml_is_quantized(type);
}

Tensor describe(const ggml_tensor* native) {
  const int64_t rows = ggml_nrows(native);
  const bool fits = native->ne[0] <= UINT32_MAX && rows <= UINT32_MAX;
  const bool matrix = ggml_n_dims(native) <= 2 && native->ne[0] <= product_side_max && rows <= product_side_max;
  return {.native = native,
          .columns = fits ? static_cast<uint32_t>(native->ne[0]) : 0,
          .rows = fits ? static_cast<uint32_t>(rows) : 0,
          .bytes = ggml_nbytes(native),
          .readable = fits && is_plain(native) && ggml_is_contiguous(native) && converts(native->type),
          .products = matrix && is_of_cpu(native) && ggml_is_contiguous(native) && has_products(native->type)};
}

std::string layer_prefix(uint32_t layer) { return "blk." + std::to_string(layer) + "."; }

}  // namespace

std::string_view type_name(const Tensor& tensor) { return ggml_type_name(tensor.native->type); }

Result<void> read_rows(const Tensor& tensor, uint32_t row, std::span<float> values) {
  if (!tensor.readable) return fail(ErrorCode::unsupported, "the tensor lies in memory in another layout than that of its file");
  if (values.size() > read_values_max) return fail(ErrorCode::resource_exhausted, "more than read_values_max values in one call");
  const uint64_t count = values.size() / tensor.columns;
  if (values.size() % tensor.columns != 0 || row > tensor.rows || count > tensor.rows - row)
    return fail(ErrorCode::invalid_argument, "the tensor has no such rows");
  const auto* from = static_cast<const char*>(tensor.native->data) + uint64_t{row} * ggml_row_size(tensor.native->type, tensor.columns);
  if (tensor.native->type == GGML_TYPE_F32) {
    std::copy_n(reinterpret_cast<const float*>(from), values.size(), values.begin());
  } else if (!values.empty()) {
    ggml_get_type_traits(tensor.native->type)->to_float(from, values.data(), static_cast<int64_t>(values.size()));
  }
  return {};
}

Tensors::Tensors(const llama_model* model) : layers_(static_cast<uint32_t>(std::max(0, llama_model_n_layer(model)))) {
  for (const auto& [name, native] : llama_internal_get_tensor_map(model)) {
    const Tensor tensor = describe(native);
    const auto [place, inserted] = by_name_.try_emplace(name, tensor);
    if (inserted || name != embedding_name) continue;
    // The same matrix once more, laid out for products.
    Tensor& embedding = place->second;
    by_name_.try_emplace(std::string(output_name), embedding.readable ? tensor : std::exchange(embedding, tensor));
  }
  if (const Tensor* embedding = find(embedding_name)) by_name_.try_emplace(std::string(output_name), *embedding);
}

const Tensor* Tensors::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &found->second;
}

uint32_t Tensors::load_layer(uint32_t layer) const {
  const std::string prefix = layer_prefix(layer);
  const auto page_bytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  uint32_t count = 0;
  for (auto at = by_name_.lower_bound(prefix); at != by_name_.end() && at->first.starts_with(prefix); ++at) {
    ++count;
    if (!is_plain(at->second.native)) continue;
    const auto begin = reinterpret_cast<uintptr_t>(at->second.native->data), first = begin / page_bytes * page_bytes;
    madvise(reinterpret_cast<void*>(first), begin + at->second.bytes - first, MADV_WILLNEED);
  }
  return count;
}

}  // namespace realm::engine
