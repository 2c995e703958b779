// Chooses the set of CPU kernels at start. ggml's registry asks for ggml_backend_cpu_reg(); the linker sends that here (--wrap), and
// the sets lie in the binary under names of their own (third_party/CMakeLists.txt).
#include <cpuid.h>
#include <cstdlib>
#include <cstring>

#include "ggml-backend.h"

extern "C" {
ggml_backend_reg_t __real_ggml_backend_cpu_reg(void);
ggml_backend_reg_t ggml_backend_cpu_reg_haswell(void);
ggml_backend_reg_t ggml_backend_cpu_reg_skylakex(void);
ggml_backend_reg_t ggml_backend_cpu_reg_zen4(void);
ggml_backend_reg_t ggml_backend_cpu_reg_sapphirerapids(void);
}

namespace {

struct Variant {
  const char* name;
  ggml_backend_reg_t (*registry)(void);
  bool runs_here;
};

bool has_amx_int8() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned amx_tile = 1u << 24, amx_int8 = 1u << 25;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & amx_tile) != 0 && (d & amx_int8) != 0;
}

// The best set that this machine runs, or the one that REALM_CPU_VARIANT names if this machine runs it.
Variant choose() {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd");
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") &&
                    __builtin_cpu_supports("avx512bf16");
  const Variant variants[] = {{"sapphirerapids", ggml_backend_cpu_reg_sapphirerapids, vnni && has_amx_int8()},
                              {"zen4", ggml_backend_cpu_reg_zen4, vnni},
                              {"skylakex", ggml_backend_cpu_reg_skylakex, avx512},
                              {"haswell", ggml_backend_cpu_reg_haswell, avx2},
                              {"baseline", __real_ggml_backend_cpu_reg, true}};
  const char* wanted = std::getenv("REALM_CPU_VARIANT");
  if (wanted != nullptr) {
    for (const Variant& variant : variants) {
      if (variant.runs_here && std::strcmp(variant.name, wanted) == 0) return variant;
    }
  }
  for (const Variant& variant : variants) {
    if (variant.runs_here) return variant;
  }
  return variants[4];
}

const Variant& chosen() {
  static const Variant variant = choose();
  return variant;
}

}  // namespace

extern "C" ggml_backend_reg_t __wrap_ggml_backend_cpu_reg(void) { return chosen().registry(); }

extern "C" const char* realm_cpu_variant_name(void) { return chosen().name; }
