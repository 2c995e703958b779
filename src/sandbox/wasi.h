// WASI preview 1, cut down to what a C library needs to start: clocks, random numbers, and a standard error that goes to the log.
// No files, no environment, no arguments, no sockets, no waiting.
#pragma once

#include <vector>

#include "sandbox/host_function.h"

namespace realm::sandbox {

std::vector<HostFunction> wasi_functions();

}  // namespace realm::sandbox
