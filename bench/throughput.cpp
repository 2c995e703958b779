// Tokens per second through realm.wasm against a bare llama.cpp loop on the same threads, alternating in one process.
#include <algorithm>

#include "base/clock.h"
#include "bench.h"
#include "engine/bare_loop.h"

namespace realm::bench {
namespace {

constexpr uint32_t context_tokens = 512;
constexpr uint32_t prompt_words = 48;
constexpr uint32_t new_tokens = 64;

struct Guests {
  std::unique_ptr<runtime::Runtime> runtime;
  std::vector<runtime::RealmHandle> realms;
};

// Tokens per second of everybody together, prefill included.
double through_guests(Guests& guests, uint32_t sequences) {
  std::vector<std::unique_ptr<Collector>> answers;
  const int64_t began_ns = monotonic_ns();
  for (uint32_t i = 0; i < sequences; ++i) {
    answers.push_back(std::make_unique<Collector>());
    const auto body =
        request({{"prompt", filler_text(prompt_words, i)}, {"temperature", 0}, {"max_tokens", new_tokens}, {"ignore_eos", true}});
    if (!guests.runtime->generate(guests.realms[i], {body}, *answers.back())) return 0;
  }
  uint64_t tokens = 0;
  for (const auto& answer : answers) {
    answer->wait();
    tokens += answer->stats.completion_tokens;
  }
  return static_cast<double>(tokens) * 1e9 / static_cast<double>(monotonic_ns() - began_ns);
}

double through_bare_loop(engine::BareLoop& bare, const std::vector<std::vector<int32_t>>& prompts) {
  const int64_t began_ns = monotonic_ns();
  const auto outputs = bare.generate(prompts, new_tokens);
  uint64_t tokens = 0;
  for (const auto& output : outputs) tokens += output.size();
  return static_cast<double>(tokens) * 1e9 / static_cast<double>(monotonic_ns() - began_ns);
}

boost::json::object compare(const Setup& setup, const std::shared_ptr<engine::Model>& model, engine::ComputePool& pool,
                            uint32_t sequences) {
  Guests guests{make_runtime(setup, sequences, context_tokens), {}};
  std::vector<std::vector<int32_t>> prompts;
  for (uint32_t i = 0; i < sequences; ++i) {
    guests.realms.push_back(make_realm(*guests.runtime, "realm-" + std::to_string(i)));
    prompts.push_back(model->tokenize(filler_text(prompt_words, i), {.add_special = true, .parse_special = true}).value());
  }
  engine::BareLoop bare(*model, pool, sequences, context_tokens, engine::SchedulerOptions{}.prefill_tokens_max);
  through_guests(guests, sequences);
  through_bare_loop(bare, prompts);
  std::vector<double> guest_rates, bare_rates, ratios;
  for (int i = 0; i < (setup.quick ? 1 : 5); ++i) {
    bare_rates.push_back(through_bare_loop(bare, prompts));
    guest_rates.push_back(through_guests(guests, sequences));
    ratios.push_back(guest_rates.back() / bare_rates.back());
  }
  const auto stats = guests.runtime->models().front().scheduler;
  return {{"sequences", sequences},
          {"guest_tokens_per_second", median(guest_rates)},
          {"bare_tokens_per_second", median(bare_rates)},
          {"ratio_median", median(ratios)},
          {"ratio_min", *std::min_element(ratios.begin(), ratios.end())},
          {"ratio_max", *std::max_element(ratios.begin(), ratios.end())},
          {"compute_share", static_cast<double>(stats.compute_ns) / static_cast<double>(stats.step_ns)},
          {"sample_share", static_cast<double>(stats.sample_ns) / static_cast<double>(stats.step_ns)}};
}

}  // namespace

boost::json::object guest_against_bare_loop(const Setup& setup) {
  auto pool = engine::ComputePool::create(setup.threads).value();
  const auto model = engine::Model::load({.file = setup.model}).value();
  boost::json::array rows;
  for (const uint32_t sequences : {1u, 4u, 16u}) rows.push_back(compare(setup, model, *pool, sequences));
  return {{"threads", pool->threads()}, {"prompt_words", prompt_words}, {"new_tokens", new_tokens}, {"rows", std::move(rows)}};
}

}  // namespace realm::bench
