// ggml's operations in the words of our kernels.
#pragma once

#include <optional>

#include "kernels/attention.h"
#include "kernels/multiplication.h"

struct ggml_tensor;

namespace realm::kernels {

// Nothing when the kernels do not support the operation, whatever it is.
std::optional<Attention> attention_of(const ggml_tensor* op);

// The type and shape of weights that may be packed; whether a set packs this shape is its own to say.
std::optional<WeightType> weight_type_of(const ggml_tensor* weights);

// Of an operation whose weights are packed. Nothing when the kernels do not support it.
std::optional<Multiplication> multiplication_of(const ggml_tensor* op);

}  // namespace realm::kernels
