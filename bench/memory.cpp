// Resident memory: the process with its model, with 16 realms answering, with 1,000 idle realms.
#include <algorithm>
#include <chrono>
#include <thread>

#include "base/memory.h"
#include "bench.h"

namespace realm::bench {

boost::json::object memory_per_realm(const Setup& setup) {
  constexpr uint32_t answering = 16;
  constexpr uint32_t idle = 1'000;
  auto runtime = make_runtime(setup, answering, 2'048);
  {
    // Warm: the compute buffers of a step exist from here on.
    const auto realm = make_realm(*runtime, "warm");
    Collector collector;
    if (runtime->generate(realm, {request({{"prompt", filler_text(48, 99)}, {"max_tokens", 4}, {"ignore_eos", true}})}, collector))
      collector.wait();
    runtime->close_realm(realm);
  }
  const uint64_t loaded = process_memory().resident_bytes;

  std::vector<runtime::RealmHandle> realms;
  for (uint32_t i = 0; i < idle; ++i) realms.push_back(make_realm(*runtime, "idle-" + std::to_string(i)));
  const uint64_t with_idle = process_memory().resident_bytes;

  std::vector<std::unique_ptr<Collector>> answers;
  for (uint32_t i = 0; i < answering; ++i) {
    answers.push_back(std::make_unique<Collector>());
    const auto body = request({{"prompt", filler_text(48, i)}, {"max_tokens", 64}, {"ignore_eos", true}});
    if (!runtime->generate(realms[i], {body}, *answers.back())) return {};
  }
  uint64_t most = 0;
  while (runtime->sandbox_stats().instances_live > 0) {
    most = std::max(most, process_memory().resident_bytes);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  for (const auto& answer : answers) answer->wait();
  const auto stats = runtime->models().front().scheduler;
  return {{"model_loaded_bytes", loaded},
          {"idle_realms", idle},
          {"bytes_an_idle_realm", static_cast<double>(with_idle - std::min(with_idle, loaded)) / idle},
          {"answering_realms", answering},
          {"answering_bytes", most},
          {"bytes_an_answering_realm", static_cast<double>(most - std::min(most, with_idle)) / answering},
          {"kv_bytes_a_token", stats.kv_bytes_per_token}};
}

}  // namespace realm::bench
