// Our kernels as an extension of ggml's CPU back end, which asks it before each operation. What the kernels do not support is left to ggml.
#pragma once

#include <string_view>

namespace realm::kernels {

// Makes the kernels known to ggml, in use. Once a process, before the first model is loaded.
void install();

// Whether the kernels take over what they support. May be changed while nothing is computed or loaded; a model keeps what it was loaded
// for.
void use(bool own);

// The instruction set whose kernels are in use: "haswell". Empty when this processor has none, or after use(false).
std::string_view in_use();

}  // namespace realm::kernels
