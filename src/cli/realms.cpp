// `realm run --realms N PROMPT`: N realms answer the same prompt at once, in one batch, each in its own sandbox.
#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/engine_start.h"
#include "cli/terminal.h"

namespace realm::cli {
namespace {

struct Tenant {
  runtime::RealmHandle realm;
  std::unique_ptr<Answer> answer;
  runtime::GenerationHandle generation;
};

struct Totals {
  uint64_t prompt_tokens = 0;
  uint64_t cached_tokens = 0;
  uint64_t completion_tokens = 0;
  uint64_t guest_memory_bytes = 0;
  uint32_t failures = 0;
  double seconds = 0;
  double ttft_ms_median = 0;
  uint64_t memory_bytes = 0;         // of the process, while all realms were answering
  uint64_t memory_bytes_before = 0;  // model loaded, no realm yet
  double tokens_per_second() const { return seconds > 0 ? static_cast<double>(completion_tokens) / seconds : 0; }
  double memory_per_realm(size_t realms) const {
    return memory_bytes > memory_bytes_before ? static_cast<double>(memory_bytes - memory_bytes_before) / static_cast<double>(realms) : 0;
  }
};

Result<void> start_tenants(runtime::Runtime& runtime, const RunOptions& options, std::vector<Tenant>& tenants) {
  std::vector<Message> messages;
  if (!options.system.empty()) messages.push_back({"system", options.system});
  messages.push_back({"user", options.prompt});
  runtime::RealmLimits limits;
  limits.keep_prefixes = false;
  limits.queue_deadline_ms = 600'000;
  for (size_t i = 0; i < tenants.size(); ++i) {
    auto realm = runtime.create_realm("realm-" + std::to_string(i + 1), limits);
    if (!realm) return fail(std::move(realm));
    tenants[i].realm = *realm;
    RunOptions own = options;
    own.seed = options.seed.value_or(1) + static_cast<int64_t>(i);
    tenants[i].answer = std::make_unique<Answer>();
    auto generation = runtime.generate(tenants[i].realm, {request_json(own, messages)}, *tenants[i].answer);
    if (!generation) {
      tenants[i].answer.reset();
      return fail(std::move(generation));
    }
    tenants[i].generation = *generation;
  }
  return {};
}

// "3 of 16 realms done, 412 tokens, 85.2 tokens/s"
std::string progress_text(const runtime::Runtime& runtime, int64_t began_ns) {
  uint64_t done = 0;
  uint64_t tokens = 0;
  const auto realms = runtime.realm_activity();
  for (const auto& realm : realms) {
    done += realm.requests_running == 0;
    tokens += realm.generation_tokens;
  }
  char text[128];
  std::snprintf(text, sizeof text, "%llu of %zu realms done, %llu tokens, %.1f tokens/s", static_cast<unsigned long long>(done),
                realms.size(), static_cast<unsigned long long>(tokens),
                static_cast<double>(tokens) * 1e9 / static_cast<double>(monotonic_ns() - began_ns));
  return text;
}

// Shows how far they are, until the last has ended. Returns the most memory that the process had: it is largest just before the end,
// when every sequence is longest.
uint64_t watch(const runtime::Runtime& runtime, int64_t began_ns) {
  Spinner spinner("answering");
  uint64_t most = 0;
  for (unsigned turn = 0; runtime.sandbox_stats().instances_live > 0; ++turn) {
    most = std::max(most, process_memory().resident_bytes);
    if (turn % 4 == 0 && stderr_is_terminal()) spinner.set_text(progress_text(runtime, began_ns));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return most;
}

Totals total(const std::vector<Tenant>& tenants) {
  Totals totals;
  std::vector<double> first;
  for (const Tenant& tenant : tenants) {
    const auto& stats = tenant.answer->stats();
    totals.prompt_tokens += stats.prompt_tokens;
    totals.cached_tokens += stats.cached_tokens;
    totals.completion_tokens += stats.completion_tokens;
    totals.guest_memory_bytes += stats.guest_memory_bytes;
    if (!tenant.answer->wait()) ++totals.failures;
    first.push_back(tenant.answer->ttft_ms());
  }
  std::nth_element(first.begin(), first.begin() + static_cast<ptrdiff_t>(first.size() / 2), first.end());
  totals.ttft_ms_median = first[first.size() / 2];
  return totals;
}

void print_json(const std::vector<Tenant>& tenants, const Totals& totals) {
  boost::json::array results;
  for (const Tenant& tenant : tenants) {
    const auto& stats = tenant.answer->stats();
    results.push_back({{"realm", tenant.realm.id()},
                       {"text", tenant.answer->text()},
                       {"finish_reason", tenant.answer->finish_reason()},
                       {"prompt_tokens", stats.prompt_tokens},
                       {"cached_tokens", stats.cached_tokens},
                       {"completion_tokens", stats.completion_tokens},
                       {"ttft_ms", tenant.answer->ttft_ms()},
                       {"tokens_per_second", tenant.answer->tokens_per_second()},
                       {"time_ms", static_cast<double>(stats.wall_ns) / 1e6},
                       {"memory_bytes", stats.guest_memory_bytes}});
  }
  const boost::json::object object = {{"text", tenants.front().answer->text()},
                                      {"finish_reason", tenants.front().answer->finish_reason()},
                                      {"prompt_tokens", totals.prompt_tokens},
                                      {"cached_tokens", totals.cached_tokens},
                                      {"completion_tokens", totals.completion_tokens},
                                      {"ttft_ms", totals.ttft_ms_median},
                                      {"tokens_per_second", totals.tokens_per_second()},
                                      {"memory_bytes", totals.memory_bytes},
                                      {"memory_bytes_before", totals.memory_bytes_before},
                                      {"memory_bytes_per_realm", totals.memory_per_realm(tenants.size())},
                                      {"time_ms", totals.seconds * 1e3},
                                      {"results", std::move(results)}};
  std::printf("%s\n", boost::json::serialize(object).c_str());
}

void print_table(const std::vector<Tenant>& tenants, const Totals& totals) {
  constexpr double mib = 1024.0 * 1024.0;
  std::printf("%-12s %8s %10s %10s %10s  %s\n", "realm", "tokens", "first ms", "time ms", "tokens/s", "answer");
  for (const Tenant& tenant : tenants) {
    std::string text = printable(tenant.answer->text()).substr(0, 48);
    std::replace(text.begin(), text.end(), '\n', ' ');
    std::printf("%-12s %8u %10.0f %10.0f %10.1f  %s\n", tenant.realm.id().c_str(), tenant.answer->stats().completion_tokens,
                tenant.answer->ttft_ms(), static_cast<double>(tenant.answer->stats().wall_ns) / 1e6, tenant.answer->tokens_per_second(),
                text.c_str());
  }
  std::printf("\ntogether     %8llu tokens in %.2f s: %.1f tokens/s\n", static_cast<unsigned long long>(totals.completion_tokens),
              totals.seconds, totals.tokens_per_second());
  std::printf("memory       %8.1f MiB the process (%.1f before any realm), %.2f MiB a realm with its KV, %.2f MiB of it sandbox\n",
              static_cast<double>(totals.memory_bytes) / mib, static_cast<double>(totals.memory_bytes_before) / mib,
              totals.memory_per_realm(tenants.size()) / mib,
              static_cast<double>(totals.guest_memory_bytes) / mib / static_cast<double>(tenants.size()));
}

}  // namespace

int run_realms(const RunOptions& options, Interrupts& interrupts) {
  auto runtime = start_runtime(options, options.realms, interrupts);
  if (!runtime) return report(runtime.error());
  std::vector<Tenant> tenants(options.realms);
  const uint64_t memory_before = process_memory().resident_bytes;
  const int64_t began_ns = monotonic_ns();
  if (auto started = start_tenants(**runtime, options, tenants); !started) {
    for (const Tenant& tenant : tenants) {
      if (!tenant.answer) break;
      tenant.generation.cancel();
      tenant.answer->wait();
    }
    return report(started.error());
  }
  interrupts.on_interrupt([&tenants] {
    for (const Tenant& tenant : tenants) tenant.generation.cancel();
  });
  const uint64_t memory = watch(**runtime, began_ns);
  for (const Tenant& tenant : tenants) tenant.answer->wait();
  interrupts.on_interrupt(nullptr);
  Totals totals = total(tenants);
  totals.seconds = static_cast<double>(monotonic_ns() - began_ns) / 1e9;
  totals.memory_bytes = memory;
  totals.memory_bytes_before = memory_before;
  options.json ? print_json(tenants, totals) : print_table(tenants, totals);
  for (const Tenant& tenant : tenants) {
    if (const auto& result = tenant.answer->wait(); !result) {
      std::fprintf(stderr, "realm: %u of %zu realms failed\n", totals.failures, tenants.size());
      return report(result.error());
    }
  }
  return 0;
}

}  // namespace realm::cli
