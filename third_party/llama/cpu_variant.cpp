// Chooses the CPU kernels when the process starts. ggml asks for its CPU back end by calling ggml_backend_cpu_reg(); the linker
// sends that call here (--wrap), and the builds of ggml-cpu lie in the binary under names of their own (CMakeLists.txt beside).
#include "llama_cpu_variant.h"

extern "C" ggml_backend_reg_t __real_ggml_backend_cpu_reg();
extern "C" void ggml_barrier(ggml_threadpool* pool);
std::vector<ggml_backend_buffer_type_t>& ggml_backend_cpu_get_extra_buffer_types();

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

// A build's entries, under the names that CMakeLists.txt beside gives them.
#define VARIANT(name)                                                                    \
  extern "C" ggml_backend_reg_t ggml_backend_cpu_reg_##name();                           \
  extern "C" std::vector<ggml_backend_buffer_type_t>& realm_extra_buffer_types_##name(); \
  extern "C" void ggml_barrier_##name(ggml_threadpool* pool);                            \
  constexpr realm_cpu_variant name##_build{#name, ggml_backend_cpu_reg_##name, realm_extra_buffer_types_##name, ggml_barrier_##name};
VARIANT(haswell)
VARIANT(skylakex)
VARIANT(zen4)
#undef VARIANT
// AMX is for our own kernels alone (src/kernels/sets). What GCC 12 makes of ggml's loads tiles that have no shape, which ends the process:
// its _tile_loadconfig does not say that it reads more than eight bytes, so the stores of the others are left out.
constexpr realm_cpu_variant sapphirerapids_build{"sapphirerapids", ggml_backend_cpu_reg_zen4, realm_extra_buffer_types_zen4,
                                                 ggml_barrier_zen4};

namespace {

// What the processor has and the operating system saves on a thread switch.
struct Cpu {
  bool avx2 = false;
  bool avx512 = false;
  bool avx512_vnni = false;
  bool amx = false;

  Cpu() {
    __builtin_cpu_init();
    unsigned eax = 0, ebx = 0, features = 0, unused = 0;
    if (__get_cpuid(1, &eax, &ebx, &features, &unused) == 0) return;
    constexpr unsigned f16c = 1u << 29, osxsave = 1u << 27;
    if ((features & osxsave) == 0) return;
    avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") && (features & f16c) != 0;
    avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    avx512_vnni =
        avx512 && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
    unsigned leaf7 = 0;
    constexpr unsigned amx_tile = 1u << 24, amx_int8 = 1u << 25;
    constexpr uint32_t tile_state = 3u << 17;
    amx = avx512_vnni && __get_cpuid_count(7, 0, &eax, &ebx, &unused, &leaf7) != 0 && (leaf7 & amx_tile) != 0 && (leaf7 & amx_int8) != 0 &&
          (saved_state() & tile_state) == tile_state;
  }

 private:
  static uint32_t saved_state() {
    uint32_t low = 0, high = 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
  }
};

constexpr realm_cpu_variant baseline_build{"baseline", __real_ggml_backend_cpu_reg, ggml_backend_cpu_get_extra_buffer_types,
                                           ggml_barrier};

struct Candidate {
  const realm_cpu_variant& build;
  bool runs_here;
};

// The best build that this machine can run, unless REALM_CPU_VARIANT names another one that it can run too.
const realm_cpu_variant& choose() {
  const Cpu cpu;
  const Candidate best_first[] = {
      {sapphirerapids_build, cpu.amx}, {zen4_build, cpu.avx512_vnni}, {skylakex_build, cpu.avx512},
      {haswell_build, cpu.avx2},       {baseline_build, true},
  };
  const char* wanted = std::getenv("REALM_CPU_VARIANT");
  const realm_cpu_variant* chosen = nullptr;
  for (const Candidate& candidate : best_first) {
    if (!candidate.runs_here) continue;
    if (chosen == nullptr) chosen = &candidate.build;
    if (wanted != nullptr && std::strcmp(wanted, candidate.build.name) == 0) return candidate.build;
  }
  return *chosen;
}

}  // namespace

const realm_cpu_variant& realm_chosen_cpu_variant() {
  static const realm_cpu_variant& variant = choose();
  return variant;
}

#else

const realm_cpu_variant& realm_chosen_cpu_variant() {
  static constexpr realm_cpu_variant native{"native", __real_ggml_backend_cpu_reg, ggml_backend_cpu_get_extra_buffer_types, ggml_barrier};
  return native;
}

#endif

extern "C" ggml_backend_reg_t __wrap_ggml_backend_cpu_reg() { return realm_chosen_cpu_variant().registry(); }
