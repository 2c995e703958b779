// Brings the runtime up for a command: program, model, progress.
#pragma once

#include <memory>

#include "cli/interrupt.h"
#include "cli/run_options.h"
#include "runtime/runtime.h"

namespace realm::cli {

// Shows progress on a terminal; Ctrl-C gives the load up. `sequences` is how many run at once.
Result<std::unique_ptr<runtime::Runtime>> start_runtime(const RunOptions& options, uint32_t sequences, Interrupts& interrupts);

}  // namespace realm::cli
