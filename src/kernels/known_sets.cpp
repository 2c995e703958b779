#include "kernels/known_sets.h"

#include <llama_cpu_variant.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

#if defined(__x86_64__)
extern "C" const realm::kernels::KernelSet realm_kernel_set_haswell;
extern "C" const realm::kernels::KernelSet realm_kernel_set_icelake;
extern "C" const realm::kernels::KernelSet realm_kernel_set_sapphirerapids;
#endif

namespace realm::kernels {
namespace {

#if defined(__x86_64__)
// Linux has a process ask for AMX, whose registers are large. See "Using XSTATE features in user space applications" in its documentation.
bool tiles_are_allowed() {
  constexpr int request = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request, tile_data) == 0;
}
#endif

}  // namespace

std::span<const NamedSet> known_sets() {
  static const std::vector<NamedSet> known = [] {
    std::vector<NamedSet> sets;
#if defined(__x86_64__)
    const std::string_view variant = realm_chosen_cpu_variant().name;
    // ggml's build for skylakex is also the one for processors that have VNNI but no bfloats.
    const bool has_vnni =
        variant == "zen4" || variant == "sapphirerapids" || (variant == "skylakex" && __builtin_cpu_supports("avx512vnni"));
    if (variant == "sapphirerapids" && tiles_are_allowed()) sets.push_back({"sapphirerapids", &realm_kernel_set_sapphirerapids});
    if (has_vnni) sets.push_back({"icelake", &realm_kernel_set_icelake});
    if (variant != "baseline") sets.push_back({"haswell", &realm_kernel_set_haswell});
#endif
    return sets;
  }();
  return known;
}

}  // namespace realm::kernels
