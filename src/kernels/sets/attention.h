// This set's attention. For contracts see kernels/kernel_set.h.
#pragma once

#include <cstddef>

#include "kernels/kernel_set.h"

namespace realm::kernels {

size_t attention_work_bytes(const Attention& task, int workers);
void attend(const Attention& task, const Worker& worker, void* work);

}  // namespace realm::kernels
