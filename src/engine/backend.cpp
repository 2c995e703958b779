#include "engine/backend.h"

#include <ggml-backend.h>
#include <llama.h>
#include <llama_cpu_variant.h>

#include <algorithm>
#include <mutex>

#include "base/log.h"
#include "base/memory.h"
#include "kernels/extension.h"

namespace realm::engine {
namespace {

constexpr size_t native_error_bytes_max = 400;

// What one thread heard from ggml and llama.cpp. Their log calls carry no context, but they are made on the thread that called in.
struct NativeLog {
  std::string errors;
  std::string line;  // the message so far: they may send a line in pieces
  ggml_log_level level = GGML_LOG_LEVEL_NONE;
};
thread_local NativeLog native_log;

// "llama_model_load: error loading model: ..." without the function's name.
std::string_view without_function_name(std::string_view line) {
  const size_t colon = line.find(": ");
  if (colon == std::string_view::npos || line.substr(0, colon).find(' ') != std::string_view::npos) return line;
  return line.substr(colon + 2);
}

void finish_line(NativeLog& native) {
  while (!native.line.empty() && (native.line.back() == '\n' || native.line.back() == ' ')) native.line.pop_back();
  if (native.line.empty()) return;
  log().debug("native: {}", native.line);
  if (native.level == GGML_LOG_LEVEL_ERROR && native.errors.size() < native_error_bytes_max) {
    if (!native.errors.empty()) native.errors += "; ";
    native.errors += without_function_name(native.line).substr(0, native_error_bytes_max);
  }
  native.line.clear();
}

void on_native_log(ggml_log_level level, const char* text, void*) {
  NativeLog& native = native_log;
  if (level != GGML_LOG_LEVEL_CONT) {
    finish_line(native);
    native.level = level;
  }
  native.line += text;
  if (native.line.ends_with('\n')) finish_line(native);
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return result;
}

std::string device_names() {
  std::string names;
  for (const BackendDevice& device : backend_devices()) {
    if (!names.empty()) names += ", ";
    names += device.backend + " (" + device.description + ")";
  }
  return names.empty() ? "none" : names;
}

}  // namespace

Result<BackendChoice> parse_backend(std::string_view name) {
  if (name == "auto") return BackendChoice::automatic;
  if (name == "cpu") return BackendChoice::cpu;
  if (name == "cuda") return BackendChoice::cuda;
  return fail(ErrorCode::invalid_argument, "backend \"" + std::string(name) + "\" is unknown: use auto, cpu or cuda");
}

Result<KernelChoice> parse_kernels(std::string_view name) {
  if (name == "own") return KernelChoice::own;
  if (name == "ggml") return KernelChoice::ggml;
  return fail(ErrorCode::invalid_argument, "kernels \"" + std::string(name) + "\" are unknown: use own or ggml");
}

void choose_kernels(KernelChoice choice) {
  start_backends();
  kernels::use(choice == KernelChoice::own);
}

void start_backends() {
  static std::once_flag once;
  std::call_once(once, [] {
    llama_log_set(on_native_log, nullptr);
    kernels::install();
    llama_backend_init();
  });
}

std::vector<BackendDevice> backend_devices() {
  start_backends();
  std::vector<BackendDevice> devices;
  for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
    ggml_backend_dev_t native = ggml_backend_dev_get(i);
    ggml_backend_dev_props props{};
    ggml_backend_dev_get_props(native, &props);
    const bool is_cpu = props.type == GGML_BACKEND_DEVICE_TYPE_CPU;
    devices.push_back({.backend = lower(ggml_backend_reg_name(ggml_backend_dev_backend_reg(native))),
                       .description = props.description,
                       .memory_bytes = props.memory_total,
                       .memory_free_bytes = is_cpu ? free_memory_bytes() : props.memory_free});
  }
  return devices;
}

Result<void> require_backend(BackendChoice choice) {
  if (choice == BackendChoice::automatic) return {};
  const std::string_view wanted = choice == BackendChoice::cpu ? "cpu" : "cuda";
  for (const BackendDevice& device : backend_devices()) {
    if (device.backend == wanted) return {};
  }
  return fail(ErrorCode::unsupported,
              "backend " + std::string(wanted) + " has no device in this build or machine; there is: " + device_names());
}

std::string cpu_kernels_description() {
  start_backends();
  std::string description = realm_chosen_cpu_variant().name;
  ggml_backend_reg_t cpu = ggml_backend_reg_by_name("CPU");
  if (cpu == nullptr) return description;
  const auto features = reinterpret_cast<ggml_backend_get_features_t>(ggml_backend_reg_get_proc_address(cpu, "ggml_backend_get_features"));
  if (features == nullptr) return description;
  const char* separator = ": ";
  for (const ggml_backend_feature* feature = features(cpu); feature->name != nullptr; ++feature) {
    if (std::string_view(feature->value) == "0") continue;
    description += separator + lower(feature->name);
    separator = " ";
  }
  const std::string_view own = kernels::in_use();
  description += own.empty() ? "; ggml's own only" : "; ours for " + std::string(own);
  return description;
}

std::string take_last_native_error() {
  finish_line(native_log);
  return std::exchange(native_log.errors, {});
}

}  // namespace realm::engine
