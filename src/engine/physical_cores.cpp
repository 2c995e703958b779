// How many compute threads make sense here: the cores of the machine, of this process's affinity mask, of its container's quota.
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <string>

#include "engine/backend.h"

namespace realm::engine {
namespace {

// Two logical processors of one core share its first sibling's number.
uint32_t cores_in_affinity_mask() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream in("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    cores.insert(std::getline(in, siblings) ? siblings : "cpu" + std::to_string(cpu));
  }
  return std::max<uint32_t>(1, static_cast<uint32_t>(cores.size()));
}

// A container's CPU quota in whole cores. Threads beyond it would spin through the quota and all be stopped together.
uint32_t cores_in_quota() {
  double quota_us = 0;
  double period_us = 0;
  std::ifstream v2("/sys/fs/cgroup/cpu.max");  // "max 100000" or "200000 100000"
  if (!(v2 >> quota_us >> period_us)) {
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> quota_us;
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period_us;
  }
  if (quota_us <= 0 || period_us <= 0) return UINT32_MAX;
  return static_cast<uint32_t>(std::max(1.0, std::ceil(quota_us / period_us)));
}

}  // namespace

uint32_t physical_cores() { return std::min(cores_in_affinity_mask(), cores_in_quota()); }

}  // namespace realm::engine
