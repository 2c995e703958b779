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

// From now on blocks of at least 1 MiB are mapped one by one and unmapped when freed, and no arena keeps more than that at its end. The
// C library's own rule learns from each large block it frees to keep the next ones, in every thread's arena: what a tenant made the
// process take for a moment would stay. Of the whole process: for a main function that has started no thread.
void return_freed_memory();

}  // namespace realm
