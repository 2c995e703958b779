// What native code depends on: the settings that are the same wherever programs are compiled. Internal to the sandbox.
#pragma once

#include <wasmtime.h>

#include <cstdint>

namespace realm::sandbox {

constexpr uint64_t memory_reservation_bytes = 4ull << 30;  // lets wasm32 code go without bounds checks
constexpr uint64_t memory_guard_bytes = 32ull << 20;

// For the engine that runs programs, to which a pool is added, and for the one in the child that only compiles.
wasm_config_t* make_code_config();

}  // namespace realm::sandbox
