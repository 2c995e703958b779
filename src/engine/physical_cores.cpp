// What compute threads may run on here: the cores of the machine, of this process's affinity mask, of its container's quota.
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <string>

#include "engine/physical_cores.h"

namespace realm::engine {
namespace {

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

// Two logical processors of one core share its list of siblings.
std::vector<cpu_set_t> cores() {
  cpu_set_t allowed;
  std::vector<cpu_set_t> found;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return found;
  std::map<std::string, size_t> numbers;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream in("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    const auto [core, is_new] = numbers.try_emplace(std::getline(in, siblings) ? siblings : "cpu" + std::to_string(cpu), found.size());
    if (is_new) CPU_ZERO(&found.emplace_back());
    CPU_SET(cpu, &found[core->second]);
  }
  return found;
}

uint32_t physical_cores() { return std::max(1u, std::min(static_cast<uint32_t>(cores().size()), cores_in_quota())); }

}  // namespace realm::engine
