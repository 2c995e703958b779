// Our kernels as an extension of ggml's CPU back end, which asks it before each operation. What the kernels do not support is left to ggml.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

struct ggml_tensor;

namespace realm::kernels {

// Makes the kernels known to ggml, the best set in use. Once a process, before the first model is loaded.
void install();

// Whether the kernels take over what they support. May be changed while nothing is computed or loaded; a model's weights keep the form
// that they were loaded into, and the kernels that go with it.
void use(bool own);

// One of known_sets(), in place of the best.
void use_set(std::string_view name);

// The set in use. Empty when this processor has none, or after use(false).
std::string_view in_use();

// Of weights that these kernels have packed: bytes from their begin to that of a row. Rows of all sizes of vectors begin at multiples of
// packed_rows_step. Nothing for other weights.
constexpr int64_t packed_rows_step = 64;
std::optional<size_t> packed_offset(const ggml_tensor* weights, int64_t row);

}  // namespace realm::kernels
