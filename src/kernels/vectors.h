// A tensor as the kernels see it.
#pragma once

#include <cstddef>

namespace realm::kernels {

// Vectors in three dimensions. Steps are in bytes; the values of one vector lie side by side.
struct Vectors {
  const char* data = nullptr;
  size_t position_step = 0;
  size_t head_step = 0;
  size_t stream_step = 0;

  const char* at(int position, int head, int stream) const {
    return data + static_cast<size_t>(position) * position_step + static_cast<size_t>(head) * head_step +
           static_cast<size_t>(stream) * stream_step;
  }
};

}  // namespace realm::kernels
