// Which devices can compute, and the process-wide start of ggml.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace realm::engine {

enum class BackendChoice { automatic, cpu, cuda };

Result<BackendChoice> parse_backend(std::string_view name);  // "auto", "cpu", "cuda"

struct BackendDevice {
  std::string backend;      // "cpu", "cuda"
  std::string description;  // "AMD EPYC", "NVIDIA H100"
  uint64_t memory_bytes = 0;
  uint64_t memory_free_bytes = 0;
};

// Whose code computes on the CPU: ours where it supports an operation, or ggml's throughout. The whole process's choice, to be made
// before the first model is loaded; a benchmark may make it again while nothing is computed or loaded.
enum class KernelChoice { own, ggml };

Result<KernelChoice> parse_kernels(std::string_view name);  // "own", "ggml"
void choose_kernels(KernelChoice choice);

// Starts ggml and llama.cpp once a process and sends their log lines to ours. Any thread, any number of times.
void start_backends();

std::vector<BackendDevice> backend_devices();

// Fails with unsupported when the choice has no device in this build or machine; the message says what is there.
Result<void> require_backend(BackendChoice choice);

// The CPU kernel set in use, such as "zen4", the instruction sets it was built for, and whether our own kernels are in use.
std::string cpu_kernels_description();

// The last error that ggml or llama.cpp logged on the calling thread since the last call; empty if none.
std::string take_last_native_error();

}  // namespace realm::engine
