// A process with very many realms: what an idle one holds, whether many slow the batch down, and what a realm's second turn costs.
#include <algorithm>
#include <deque>

#include "base/clock.h"
#include "base/memory.h"
#include "bench.h"

namespace realm::bench {
namespace {

constexpr uint32_t streams = 16;

// Tokens per second of `requests` short answers, `streams` at a time, of one realm after the other.
double in_turn(runtime::Runtime& runtime, const std::vector<runtime::RealmHandle>& realms, uint32_t requests) {
  std::deque<std::unique_ptr<Collector>> running;
  uint64_t tokens = 0;
  const auto end_oldest = [&] {
    running.front()->wait();
    tokens += running.front()->stats.completion_tokens;
    running.pop_front();
  };
  const int64_t began_ns = monotonic_ns();
  for (uint32_t i = 0; i < requests; ++i) {
    if (running.size() == streams) end_oldest();
    running.push_back(std::make_unique<Collector>());
    const auto body = request({{"prompt", filler_text(16, i)}, {"temperature", 0}, {"max_tokens", 24}, {"ignore_eos", true}});
    if (!runtime.generate(realms[i % realms.size()], {body}, *running.back())) return 0;
  }
  while (!running.empty()) end_oldest();
  return static_cast<double>(tokens) * 1e9 / static_cast<double>(monotonic_ns() - began_ns);
}

std::vector<runtime::RealmHandle> made(runtime::Runtime& runtime, const std::string& name, uint32_t count) {
  std::vector<runtime::RealmHandle> realms;
  for (uint32_t i = 0; i < count; ++i) realms.push_back(make_realm(runtime, name + std::to_string(i)));
  return realms;
}

}  // namespace

boost::json::object many_realms(const Setup& setup) {
  constexpr uint32_t idle = 9'000, active = 1'000;
  const uint32_t requests = setup.quick ? active / 10 : active;
  auto runtime = make_runtime(setup, streams, 512);
  const auto few = made(*runtime, "few-", streams);
  in_turn(*runtime, few, streams * 2);
  const uint64_t before = process_memory().resident_bytes;
  const auto many = made(*runtime, "many-", active);
  const auto sleeping = made(*runtime, "idle-", idle - streams);
  const uint64_t after = process_memory().resident_bytes;
  std::vector<double> of_few, of_many, ratios;
  for (int i = 0; i < (setup.quick ? 1 : 3); ++i) {
    of_few.push_back(in_turn(*runtime, few, requests));
    of_many.push_back(in_turn(*runtime, many, requests));
    ratios.push_back(of_many.back() / of_few.back());
  }
  return {{"realms", idle + active},
          {"bytes_an_idle_realm", static_cast<double>(after - std::min(after, before)) / (idle - streams + active)},
          {"tokens_per_second_16_realms", median(of_few)},
          {"tokens_per_second_1000_in_turn", median(of_many)},
          {"ratio_median", median(ratios)},
          {"ratio_min", *std::ranges::min_element(ratios)}};
}

boost::json::object prefix_reuse(const Setup& setup) {
  auto runtime = make_runtime(setup, 4, 4'096);
  std::vector<double> first, second, shares;
  uint32_t prompt_tokens = 0, cached_tokens = 0;
  for (uint32_t i = 0; i < (setup.quick ? 2 : 5); ++i) {
    const auto realm = make_realm(*runtime, "chat-" + std::to_string(i), true);
    boost::json::array messages{{{"role", "user"}, {"content", filler_text(1'900, i)}}};
    const auto turn = [&] {
      Collector answer;
      const auto body = request({{"messages", messages}, {"temperature", 0}, {"max_tokens", 16}, {"ignore_eos", true}});
      if (runtime->generate(realm, {body}, answer)) answer.wait();
      messages.push_back({{"role", "assistant"}, {"content", answer.text}});
      messages.push_back({{"role", "user"}, {"content", "And then?"}});
      prompt_tokens = answer.stats.prompt_tokens;
      cached_tokens = answer.stats.cached_tokens;
      return static_cast<double>(answer.stats.time_to_first_token_ns) / 1e6;
    };
    first.push_back(turn());
    second.push_back(turn());
    shares.push_back(second.back() / first.back());
    runtime->close_realm(realm);
  }
  return {{"prompt_tokens_of_second_turn", prompt_tokens},
          {"cached_tokens", cached_tokens},
          {"first_turn_ttft_ms", median(first)},
          {"second_turn_ttft_ms", median(second)},
          {"share_median", median(shares)}};
}

}  // namespace realm::bench
