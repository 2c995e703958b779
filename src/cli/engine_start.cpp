#include "cli/engine_start.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "cli/paths.h"
#include "cli/terminal.h"

namespace realm::cli {
namespace {

constexpr uint32_t sequences_active_max = 256;
constexpr uint32_t workers_max = 8;  // threads that run programs

}  // namespace

runtime::RuntimeOptions runtime_options(const RunOptions& options, std::filesystem::path program) {
  runtime::RuntimeOptions runtime;
  runtime.program = std::move(program);
  runtime.compute_threads = options.threads;
  runtime.sandbox.code_cache = cache_folder() / "code";
  runtime.sandbox.workers = std::clamp(std::thread::hardware_concurrency(), 1u, workers_max);
  runtime.scheduler.context_tokens_max = options.context_tokens;
  runtime.scheduler.kv_type = engine::parse_kv_type(options.kv_type).value();  // checked by the command line
  return runtime;
}

Result<void> choose_kernels(const RunOptions& options) {
  auto kernels = engine::parse_kernels(options.kernels);
  if (!kernels) return fail(std::move(kernels));
  engine::choose_kernels(*kernels);
  return {};
}

Result<void> load_model(runtime::Runtime& runtime, const RunOptions& options, Interrupts& interrupts) {
  auto file = find_model(options.model);
  if (!file) return fail(std::move(file));
  auto backend = engine::parse_backend(options.backend);
  if (!backend) return fail(std::move(backend));
  std::atomic<bool> interrupted{false};
  interrupts.on_interrupt([&interrupted] { interrupted.store(true); });
  Spinner spinner("loading " + file->stem().string());
  engine::ModelOptions model{.file = *file, .backend = *backend};
  model.progress = [&](float fraction) {
    spinner.set_fraction(fraction);
    return !interrupted.load();
  };
  auto loaded = runtime.load_model(model);
  spinner.stop();
  interrupts.on_interrupt(nullptr);
  return loaded;
}

Result<std::unique_ptr<runtime::Runtime>> start_runtime(const RunOptions& options, uint32_t sequences, Interrupts& interrupts) {
  // A wrong path is said before anything is started.
  if (auto file = find_model(options.model); !file) return fail(std::move(file));
  auto program = find_program(options.program);
  if (!program) return fail(std::move(program));
  if (auto backend = engine::parse_backend(options.backend); !backend) return fail(std::move(backend));
  if (auto chosen = choose_kernels(options); !chosen) return fail(std::move(chosen));
  runtime::RuntimeOptions settings = runtime_options(options, *program);
  settings.sandbox.instances_max = std::max(sequences, 4u);
  settings.scheduler.sequences_max = std::clamp(sequences, 1u, sequences_active_max);
  auto runtime = runtime::Runtime::create(settings);
  if (!runtime) return fail(std::move(runtime));
  if (auto loaded = load_model(**runtime, options, interrupts); !loaded) return fail(std::move(loaded));
  return runtime;
}

}  // namespace realm::cli
