// The kit for programs that compute with a model's weights themselves: module env of the program ABI (abi/realm_abi.h). Header only.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "realm.hpp"

namespace realm {

// A value of the metadata in the model's file; empty when there is none.
inline std::string metadata(const Model& model, std::string_view key) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(key.data());
  const auto count = static_cast<uint32_t>(key.size());
  const int32_t length = memory64_metadata(model.handle(), bytes, count, nullptr, 0);
  if (length == REALM_NOT_FOUND) return {};
  std::string value(static_cast<size_t>(require(length, "metadata")), '\0');
  if (!value.empty()) {
    memory64_metadata(model.handle(), bytes, count, reinterpret_cast<uint8_t*>(value.data()), static_cast<uint32_t>(value.size()));
  }
  return value;
}

// A tensor of a model's weights, which stay in the host. It keeps the model.
class Tensor {
 public:
  // Ends the instance when the model has none of this name.
  Tensor(const Model& model, std::string_view name)
      : handle_(memory64_tensor(model.handle(), reinterpret_cast<const uint8_t*>(name.data()), static_cast<uint32_t>(name.size()))) {
    if (handle_ == REALM_NOT_FOUND) fail(REALM_FAIL_BAD_REQUEST, "model: has no tensor named '" + std::string(name) + "'");
    require(handle_, "tensor");
    require(memory64_tensor_info(handle_, &info_), "tensor");
  }
  ~Tensor() {
    if (handle_ > 0) memory64_tensor_close(handle_);
  }
  Tensor(Tensor&& other) noexcept : handle_(std::exchange(other.handle_, 0)), info_(other.info_) {}
  Tensor& operator=(Tensor&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(info_, other.info_);
    return *this;
  }

  const realm_tensor_info_t& info() const { return info_; }

  // Whole rows from `row` on, as floats.
  void read(uint32_t row, float* values, uint32_t rows = 1) const {
    require(memory64_read(handle_, row, values, rows * info_.columns), "weights");
  }
  std::vector<float> row(uint32_t row) const {
    std::vector<float> values(info_.columns);
    read(row, values.data());
    return values;
  }
  // Each of the rows that lie behind one another in `x`, times each row of the tensor: info().rows values for each.
  std::vector<float> times(const std::vector<float>& x) const {
    const auto rows = static_cast<uint32_t>(x.size() / info_.columns);
    std::vector<float> out(size_t{rows} * info_.rows);
    require(candle_matmul_tensor(handle_, x.data(), static_cast<uint32_t>(x.size()), out.data(), static_cast<uint32_t>(out.size()), rows),
            "product");
    return out;
  }

 private:
  int32_t handle_ = 0;
  realm_tensor_info_t info_{};
};

}  // namespace realm
