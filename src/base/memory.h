// What memory the machine, the container and this process have.
#pragma once

#include <cstdint>

namespace realm {

// Bytes that this process could still take without swapping: the smaller of the system's available memory and what the cgroup
// leaves. Any thread.
uint64_t free_memory_bytes();

// Bytes that the machine or the container has, whichever is less. Any thread.
uint64_t memory_limit_bytes();

struct ProcessMemory {
  uint64_t resident_bytes = 0;
  uint64_t private_bytes = 0;  // resident and neither file-backed nor shared
  uint64_t peak_resident_bytes = 0;
};

// Zeros where the system does not tell.
ProcessMemory process_memory();

}  // namespace realm
