// The cores that this process may run on.
#pragma once

#include <sched.h>

#include <cstdint>
#include <vector>

namespace realm::engine {

// Those of the affinity mask, each with its logical processors; empty when the system does not tell.
std::vector<cpu_set_t> cores();

// As many compute threads as make sense: the cores, or a container's quota where that is less. At least 1.
uint32_t physical_cores();

}  // namespace realm::engine
