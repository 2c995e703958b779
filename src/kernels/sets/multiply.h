// This set's multiplications. For contracts see kernels/kernel_set.h.
#pragma once

#include <cstddef>

#include "kernels/kernel_set.h"
#include "kernels/multiplication.h"

namespace realm::kernels {

size_t packed_bytes(WeightType type, int64_t rows, int64_t size);
void pack_weights(WeightType type, int rows, int size, const char* from, char* to);
size_t multiply_work_bytes(const Multiplication& task);
void multiply(const Multiplication& task, const Worker& worker, void* work);

}  // namespace realm::kernels
