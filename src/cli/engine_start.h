// Brings the runtime up for a command: program, model, progress.
#pragma once

#include <filesystem>
#include <memory>

#include "cli/interrupt.h"
#include "cli/run_options.h"
#include "runtime/runtime.h"

namespace realm::cli {

// Whose code computes on the CPU, as the command line says. Before anything is loaded.
Result<void> choose_kernels(const RunOptions& options);

// What the command line says about the runtime of any command, the rest as by default.
runtime::RuntimeOptions runtime_options(const RunOptions& options, std::filesystem::path program);

// Loads the model that the command line names into a runtime. Shows progress on a terminal; Ctrl-C gives the load up.
Result<void> load_model(runtime::Runtime& runtime, const RunOptions& options, Interrupts& interrupts);

// Shows progress on a terminal; Ctrl-C gives the load up. `sequences` is how many run at once.
Result<std::unique_ptr<runtime::Runtime>> start_runtime(const RunOptions& options, uint32_t sequences, Interrupts& interrupts);

}  // namespace realm::cli
