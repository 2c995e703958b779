// Where the time of sixteen streams goes: inside the compute backend, in the rest of a step, in programs, elsewhere.
#include <sys/resource.h>

#include "base/clock.h"
#include "bench.h"
#include "engine/physical_cores.h"

namespace realm::bench {
namespace {

double cpu_s() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

}  // namespace

boost::json::object busy_share(const Setup& setup) {
  constexpr uint32_t streams = 16, new_tokens = 256;
  auto runtime = make_runtime(setup, streams, 512);
  std::vector<runtime::RealmHandle> realms;
  for (uint32_t i = 0; i < streams; ++i) realms.push_back(make_realm(*runtime, "realm-" + std::to_string(i)));
  const auto answer_all = [&](uint32_t tokens) {
    std::vector<std::unique_ptr<Collector>> answers;
    for (uint32_t i = 0; i < streams; ++i) {
      answers.push_back(std::make_unique<Collector>());
      const auto body =
          request({{"prompt", filler_text(48, i)}, {"temperature", 0.7}, {"seed", i}, {"max_tokens", tokens}, {"ignore_eos", true}});
      if (!runtime->generate(realms[i], {body}, *answers.back())) return 0.0;
    }
    double guest_s = 0;
    for (const auto& answer : answers) {
      answer->wait();
      guest_s += static_cast<double>(answer->stats.guest_cpu_ns) / 1e9;
    }
    return guest_s;
  };
  answer_all(8);
  const auto before = runtime->models().front().scheduler;
  const int64_t began_ns = monotonic_ns();
  const double cpu_before_s = cpu_s();
  const double guest_s = answer_all(setup.quick ? 32 : new_tokens);
  const double cpu = cpu_s() - cpu_before_s;
  const double wall_s = static_cast<double>(monotonic_ns() - began_ns) / 1e9;
  const auto after = runtime->models().front().scheduler;
  const auto seconds = [](uint64_t from, uint64_t to) { return static_cast<double>(to - from) / 1e9; };
  const double compute_s = seconds(before.compute_ns, after.compute_ns);
  const double threads = static_cast<double>(setup.threads > 0 ? setup.threads : engine::physical_cores());
  return {{"streams", streams},
          {"steps", after.steps - before.steps},
          {"wall_s", wall_s},
          {"compute_share_of_wall", compute_s / wall_s},
          {"sampling_share_of_wall", seconds(before.sample_ns, after.sample_ns) / wall_s},
          {"rest_of_steps_share_of_wall",
           (seconds(before.step_ns, after.step_ns) - compute_s - seconds(before.sample_ns, after.sample_ns)) / wall_s},
          {"cpu_s", cpu},
          {"cpu_share_beside_compute", (cpu - compute_s * threads) / cpu},
          {"cpu_share_of_programs", guest_s / cpu}};
}

}  // namespace realm::bench
