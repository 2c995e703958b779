#include "kernels/known_sets.h"

#include <llama_cpu_variant.h>

#include <vector>

#if defined(__x86_64__)
extern "C" const realm::kernels::KernelSet realm_kernel_set_haswell;
extern "C" const realm::kernels::KernelSet realm_kernel_set_icelake;
#endif

namespace realm::kernels {

std::span<const NamedSet> known_sets() {
  static const std::vector<NamedSet> known = [] {
    std::vector<NamedSet> sets;
#if defined(__x86_64__)
    const std::string_view variant = realm_chosen_cpu_variant().name;
    // ggml's build for skylakex is also the one for processors that have VNNI but no bfloats.
    const bool has_vnni =
        variant == "zen4" || variant == "sapphirerapids" || (variant == "skylakex" && __builtin_cpu_supports("avx512vnni"));
    if (has_vnni) sets.push_back({"icelake", &realm_kernel_set_icelake});
    if (variant != "baseline") sets.push_back({"haswell", &realm_kernel_set_haswell});
#endif
    return sets;
  }();
  return known;
}

}  // namespace realm::kernels
