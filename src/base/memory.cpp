#include "base/memory.h"

#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace realm {
namespace {

constexpr int kept_bytes_max = 1 << 20;
constexpr uint64_t unknown = std::numeric_limits<uint64_t>::max();

// The value of "Name:   123 kB" in a file of /proc, in bytes.
uint64_t proc_field_bytes(const char* file, const std::string& name, uint64_t fallback) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1)) * 1024;
  }
  return fallback;
}

// A file with one number, or "max".
uint64_t file_number(const char* file) {
  std::ifstream in(file);
  uint64_t value = unknown;
  return in >> value ? value : unknown;
}

uint64_t cgroup_free_bytes() {
  const uint64_t most = std::min(file_number("/sys/fs/cgroup/memory.max"), file_number("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
  if (most == unknown) return unknown;
  uint64_t used = file_number("/sys/fs/cgroup/memory.current");
  if (used == unknown) used = file_number("/sys/fs/cgroup/memory/memory.usage_in_bytes");
  return used == unknown || used > most ? most : most - used;
}

}  // namespace

uint64_t free_memory_bytes() { return std::min(proc_field_bytes("/proc/meminfo", "MemAvailable", uint64_t{1} << 30), cgroup_free_bytes()); }

uint64_t memory_limit_bytes() {
  const uint64_t container = std::min(file_number("/sys/fs/cgroup/memory.max"), file_number("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
  return std::min(proc_field_bytes("/proc/meminfo", "MemTotal", uint64_t{1} << 30), container);
}

ProcessMemory process_memory() {
  const char* status = "/proc/self/status";
  return {.resident_bytes = proc_field_bytes(status, "VmRSS", 0),
          .private_bytes = proc_field_bytes(status, "RssAnon", 0),
          .peak_resident_bytes = proc_field_bytes(status, "VmHWM", 0)};
}

void return_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, kept_bytes_max);
  mallopt(M_TRIM_THRESHOLD, kept_bytes_max);
}

}  // namespace realm
