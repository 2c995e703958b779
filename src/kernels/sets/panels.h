// How a panel of packed weights is laid out: for each of ggml's blocks a header, if the format has one, and our blocks.
#pragma once

#include <cstddef>

#include "kernels/multiplication.h"

namespace realm::kernels {
namespace {

template <typename Format>
constexpr int blocks_of_source = Format::source_values / weight_block;

template <typename Format>
constexpr size_t panel_bytes(int64_t size) {
  return static_cast<size_t>(size / Format::source_values) *
         (Format::header_bytes + static_cast<size_t>(blocks_of_source<Format>) * Format::block_bytes);
}

}  // namespace
}  // namespace realm::kernels
