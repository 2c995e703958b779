// The commands, each in a file of its own. They return the process's exit code.
#pragma once

#include "cli/interrupt.h"
#include "cli/run_options.h"
#include "cli/server_options.h"

namespace realm::cli {

int run_prompt(const RunOptions& options, Interrupts& interrupts);                                  // run.cpp: one prompt, one answer
int run_realms(const RunOptions& options, Interrupts& interrupts);                                  // realms.cpp: --realms N
int run_chat(RunOptions options, Interrupts& interrupts);                                           // chat.cpp: on a terminal
int run_server(const RunOptions& options, const ServerSettings& settings, Interrupts& interrupts);  // serve.cpp
int run_pull(const PullSettings& settings, Interrupts& interrupts);                                 // pull.cpp
int run_top(const TopSettings& settings, Interrupts& interrupts);                                   // top.cpp
int run_bench(const BenchSettings& settings, Interrupts& interrupts);                               // bench.cpp
int run_doctor(const RunOptions& options, Interrupts& interrupts);                                  // doctor.cpp
int run_attacks(const RunOptions& options, Interrupts& interrupts);                                 // attacks.cpp: doctor --attacks

}  // namespace realm::cli
