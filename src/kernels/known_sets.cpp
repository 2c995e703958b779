#include "kernels/known_sets.h"

#include <llama_cpu_variant.h>

#include <vector>

#if defined(__x86_64__)
extern "C" const realm::kernels::KernelSet realm_kernel_set_haswell;
extern "C" const realm::kernels::KernelSet realm_kernel_set_icelake;
extern "C" const realm::kernels::KernelSet realm_kernel_set_zen4;
#endif

namespace realm::kernels {

std::span<const NamedSet> known_sets() {
  static const std::vector<NamedSet> known = [] {
    std::vector<NamedSet> sets;
#if defined(__x86_64__)
    const std::string_view variant = realm_chosen_cpu_variant().name;
    const bool has_bfloats = variant == "zen4" || variant == "sapphirerapids";
    if (has_bfloats) sets.push_back({"zen4", &realm_kernel_set_zen4});
    // ggml has no build for processors that have VNNI but no bfloats.
    if (has_bfloats || (variant == "skylakex" && __builtin_cpu_supports("avx512vnni")))
      sets.push_back({"icelake", &realm_kernel_set_icelake});
    if (variant != "baseline") sets.push_back({"haswell", &realm_kernel_set_haswell});
#endif
    return sets;
  }();
  return known;
}

}  // namespace realm::kernels
