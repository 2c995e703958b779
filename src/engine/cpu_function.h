// ggml's functions for the CPU. They are there several times over, once for each instruction set, and only the registry knows which set is
// in use: they are reached by name.
#pragma once

#include <ggml-backend.h>

namespace realm::engine {

template <class Function>
Function* cpu_function(const char* name) {
  ggml_backend_reg_t cpu = ggml_backend_reg_by_name("CPU");
  return cpu == nullptr ? nullptr : reinterpret_cast<Function*>(ggml_backend_reg_get_proc_address(cpu, name));
}

}  // namespace realm::engine
