// The weights of a loaded model by name, for programs that compute with them themselves. Nothing is copied: a tensor is what the engine's
// own steps use, in whatever layout the kernels keep it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

struct ggml_tensor;
struct llama_model;

namespace realm::engine {

struct Tensor {
  const ggml_tensor* native = nullptr;
  uint32_t columns = 0;  // values of a row
  uint32_t rows = 0;     // of all further dimensions together
  uint64_t bytes = 0;
  bool readable = false;  // rows lie in memory as the file has them
  bool products = false;  // a matrix of at most product_side_max rows and columns that the CPU multiplies by
};

constexpr uint32_t product_side_max = 1u << 20;
constexpr uint32_t read_values_max = 1u << 20;

std::string_view type_name(const Tensor& tensor);  // "q4_1"

// Rows from `row` on as floats, as many as `values` holds, which is a multiple of their length. invalid_argument: there are not as many;
// resource_exhausted: more than read_values_max; unsupported: not readable.
Result<void> read_rows(const Tensor& tensor, uint32_t row, std::span<float> values);

// Immutable; lives no longer than its model. Any thread.
class Tensors {
 public:
  explicit Tensors(const llama_model* model);

  // Null when there is none of this name. "output.weight" is there too when the file has one matrix for both ends of the model.
  const Tensor* find(std::string_view name) const;
  uint32_t count() const noexcept { return static_cast<uint32_t>(by_name_.size()); }
  uint32_t layers() const noexcept { return layers_; }
  // Asks the system to read what of a layer lies in a mapped file and is not in memory. Does not wait. Returns how many tensors it has.
  uint32_t load_layer(uint32_t layer) const;

 private:
  std::map<std::string, Tensor, std::less<>> by_name_;
  uint32_t layers_ = 0;
};

}  // namespace realm::engine
