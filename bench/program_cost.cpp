// What it costs that a program stands between the engine and the client: guest/examples/minimal.cpp, which takes tokens and emits them,
// against plain threads that take tokens of the same scheduler, alternating in one process.
#include <algorithm>
#include <filesystem>
#include <thread>

#include "base/clock.h"
#include "bench.h"
#include "engine/blocking_sequence.h"

namespace realm::bench {
namespace {

constexpr uint32_t context_tokens = 512;
constexpr uint32_t prompt_words = 16;
constexpr uint32_t new_tokens = 96;

// Tokens per second of everybody together, prefill included; adds the programs' CPU time, host functions included.
double through_programs(runtime::Runtime& runtime, const std::vector<runtime::RealmHandle>& realms, uint64_t& cpu_ns) {
  std::vector<std::unique_ptr<Collector>> answers;
  const int64_t began_ns = monotonic_ns();
  for (size_t i = 0; i < realms.size(); ++i) {
    answers.push_back(std::make_unique<Collector>());
    const auto body = request({{"prompt", filler_text(prompt_words, static_cast<uint32_t>(i))}, {"max_tokens", new_tokens}});
    if (!runtime.generate(realms[i], {body}, *answers.back())) return 0;
  }
  uint64_t tokens = 0;
  for (const auto& answer : answers) {
    answer->wait();
    tokens += answer->stats.completion_tokens;
    cpu_ns += answer->stats.guest_cpu_ns;
  }
  return static_cast<double>(tokens) * 1e9 / static_cast<double>(monotonic_ns() - began_ns);
}

double through_engine(engine::Scheduler& scheduler, uint32_t streams) {
  std::vector<std::thread> owners;
  const int64_t began_ns = monotonic_ns();
  for (uint32_t i = 0; i < streams; ++i) {
    owners.emplace_back([&scheduler, i] {
      const auto prompt = scheduler.model()->tokenize(filler_text(prompt_words, i), {.add_special = true}).value();
      const auto tokens_max = static_cast<uint32_t>(prompt.size()) + new_tokens;
      engine::BlockingSequence sequence(scheduler, {.flow = i + 1, .tokens_max = tokens_max});
      sequence->append(prompt);
      sequence.take(new_tokens);
    });
  }
  for (auto& owner : owners) owner.join();
  return streams * new_tokens * 1e9 / static_cast<double>(monotonic_ns() - began_ns);
}

boost::json::object compare(const Setup& setup, const std::shared_ptr<engine::ComputePool>& pool,
                            const std::shared_ptr<engine::Model>& model, uint32_t streams) {
  const auto runtime = make_runtime(setup, streams, context_tokens);
  std::vector<runtime::RealmHandle> realms;
  for (uint32_t i = 0; i < streams; ++i) realms.push_back(make_realm(*runtime, "realm-" + std::to_string(i)));
  engine::SchedulerOptions options;
  options.sequences_max = streams;
  options.context_tokens_max = context_tokens;
  const auto scheduler = engine::Scheduler::create(model, pool, options).value();
  uint64_t cpu_ns = 0;
  through_programs(*runtime, realms, cpu_ns);
  through_engine(*scheduler, streams);
  cpu_ns = 0;
  const auto before = runtime->models().front().scheduler;
  std::vector<double> of_programs, of_engine, ratios;
  const int rounds = setup.quick ? 1 : 7;
  for (int i = 0; i < rounds; ++i) {
    of_engine.push_back(through_engine(*scheduler, streams));
    of_programs.push_back(through_programs(*runtime, realms, cpu_ns));
    ratios.push_back(of_programs.back() / of_engine.back());
  }
  const auto after = runtime->models().front().scheduler;
  const double tokens = static_cast<double>(rounds) * streams * new_tokens;
  const auto hand_out_ns = (after.step_ns - before.step_ns) - (after.compute_ns - before.compute_ns) - (after.sample_ns - before.sample_ns);
  const double program_us = static_cast<double>(cpu_ns) / tokens / 1e3;
  const double scheduler_us = static_cast<double>(hand_out_ns) / tokens / 1e3;
  return {{"streams", streams},
          {"program_tokens_per_second", median(of_programs)},
          {"engine_tokens_per_second", median(of_engine)},
          {"ratio_median", median(ratios)},
          {"program_cpu_us_a_token", program_us},
          {"scheduler_cpu_us_a_token", scheduler_us},
          {"cpu_us_a_token", program_us + scheduler_us}};
}

}  // namespace

boost::json::object program_cost(const Setup& setup) {
  Setup minimal = setup;
  minimal.program = (std::filesystem::path(setup.program).parent_path() / "examples" / "minimal.wasm").string();
  const auto pool = engine::ComputePool::create(setup.threads).value();
  const auto model = engine::Model::load({.file = setup.model}).value();
  boost::json::array rows;
  for (const uint32_t streams : {1u, 16u}) rows.push_back(compare(minimal, pool, model, streams));
  return {{"new_tokens", new_tokens}, {"rows", std::move(rows)}};
}

}  // namespace realm::bench
