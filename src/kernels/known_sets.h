// The sets of kernels in this build that this process can use.
#pragma once

#include <span>
#include <string_view>

#include "kernels/kernel_set.h"

namespace realm::kernels {

struct NamedSet {
  std::string_view name;  // after the oldest processor that runs it, as ggml names its builds
  const KernelSet* kernels;
};

// Best first. A set is here when the processor runs it and ggml's build that was chosen at the start needs no less of the processor, so
// that naming a lesser build (REALM_CPU_VARIANT) takes the sets above it away too.
std::span<const NamedSet> known_sets();

}  // namespace realm::kernels
