#include "sandbox/code_settings.h"

namespace realm::sandbox {

wasm_config_t* make_code_config() {
  wasm_config_t* config = wasm_config_new();
  wasmtime_config_epoch_interruption_set(config, true);
  wasmtime_config_memory_init_cow_set(config, true);
  wasmtime_config_memory_reservation_set(config, memory_reservation_bytes);
  wasmtime_config_memory_guard_size_set(config, memory_guard_bytes);
  wasmtime_config_memory_may_move_set(config, false);
  wasmtime_config_native_unwind_info_set(config, false);  // C++ throws would take a global lock otherwise
  wasmtime_config_wasm_memory64_set(config, true);
  wasmtime_config_wasm_simd_set(config, true);
  wasmtime_config_wasm_relaxed_simd_set(config, false);
  wasmtime_config_wasm_multi_memory_set(config, false);
  wasmtime_config_wasm_tail_call_set(config, true);
  wasmtime_config_wasm_custom_page_sizes_set(config, false);
#if defined(__SANITIZE_THREAD__)
  // The compiler's own synchronisation is invisible to ThreadSanitizer: each object that changes threads would be a report.
  wasmtime_config_parallel_compilation_set(config, false);
#endif
  return config;
}

}  // namespace realm::sandbox
