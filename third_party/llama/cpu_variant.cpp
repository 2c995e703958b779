// Chooses the CPU kernels when the process starts. ggml asks for its CPU back end by calling ggml_backend_cpu_reg(); the linker
// sends that call here (--wrap), and the builds of ggml-cpu lie in the binary under names of their own (CMakeLists.txt beside).
#include <ggml-backend.h>

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

extern "C" {
ggml_backend_reg_t __real_ggml_backend_cpu_reg();
ggml_backend_reg_t ggml_backend_cpu_reg_haswell();
ggml_backend_reg_t ggml_backend_cpu_reg_skylakex();
ggml_backend_reg_t ggml_backend_cpu_reg_zen4();
ggml_backend_reg_t ggml_backend_cpu_reg_sapphirerapids();
}

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

struct Variant {
  const char* name;
  ggml_backend_reg_t (*registry)();
  bool runs_here;
};

// The best build that this machine can run, unless REALM_CPU_VARIANT names another one that it can run too.
Variant choose() {
  const Cpu cpu;
  const Variant best_first[] = {
      {"sapphirerapids", ggml_backend_cpu_reg_sapphirerapids, cpu.amx},
      {"zen4", ggml_backend_cpu_reg_zen4, cpu.avx512_vnni},
      {"skylakex", ggml_backend_cpu_reg_skylakex, cpu.avx512},
      {"haswell", ggml_backend_cpu_reg_haswell, cpu.avx2},
      {"baseline", __real_ggml_backend_cpu_reg, true},
  };
  const char* wanted = std::getenv("REALM_CPU_VARIANT");
  const Variant* chosen = nullptr;
  for (const Variant& variant : best_first) {
    if (!variant.runs_here) continue;
    if (chosen == nullptr) chosen = &variant;
    if (wanted != nullptr && std::strcmp(wanted, variant.name) == 0) return variant;
  }
  return *chosen;
}

const Variant& chosen() {
  static const Variant variant = choose();
  return variant;
}

}  // namespace

extern "C" ggml_backend_reg_t __wrap_ggml_backend_cpu_reg() { return chosen().registry(); }
extern "C" const char* realm_cpu_variant_name() { return chosen().name; }

#else

extern "C" ggml_backend_reg_t __real_ggml_backend_cpu_reg();
extern "C" ggml_backend_reg_t __wrap_ggml_backend_cpu_reg() { return __real_ggml_backend_cpu_reg(); }
extern "C" const char* realm_cpu_variant_name() { return "native"; }

#endif
