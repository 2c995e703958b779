// `realm doctor --attacks`: four attacks for people to watch, each stopped while a neighbour goes on being served.
#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <future>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "base/sha256.h"
#include "cli/answer.h"
#include "cli/attack_programs.h"
#include "cli/commands.h"
#include "cli/engine_start.h"
#include "cli/table.h"
#include "cli/terminal.h"

namespace realm::cli {
namespace {

constexpr uint32_t attacker_cpu_ms_max = 200;
constexpr int64_t watched_ns = 1'500'000'000;  // so long the neighbour is alone, and so long each attack is repeated
constexpr uint32_t neighbour_tokens_max = 512;

struct Attack {
  const char* name;
  std::span<const uint8_t> module;
  const char* expected;  // what the answer to the attacker has to say
};

const Attack attacks[] = {
    {"out-of-bounds access", reaching_out, "out of bounds"},
    {"infinite loop", looping, "CPU"},
    {"memory hog", hoarding, "memory"},
    {"a try at the device", opening_the_device, "path_open"},
};

struct Stopped {
  const Attack* attack = nullptr;
  bool ok = false;
  std::string how;     // what the attacker was told
  double ms = 0;       // from its request, or its upload when that was refused
  uint32_t times = 0;  // that it was tried
  double neighbour_p50_ms = 0;
  double neighbour_p99_ms = 0;
};

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  const auto at = values.begin() + static_cast<ptrdiff_t>(static_cast<double>(values.size() - 1) * q);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

// A realm that asks for one answer after the other, on a thread of its own, and knows how long it waited for each piece.
class Neighbour {
 public:
  Neighbour(runtime::Runtime& runtime, runtime::RealmHandle realm, std::string request)
      : runtime_(runtime), realm_(std::move(realm)), request_(std::move(request)), thread_([this] { ask(); }) {}
  ~Neighbour() {
    stopping_ = true;
    thread_.join();
  }

  // Waits between its tokens since the last call, milliseconds.
  std::vector<double> take_waits() {
    std::lock_guard lock(mutex_);
    return std::exchange(waits_ms_, {});
  }
  Result<void> failure() {
    std::lock_guard lock(mutex_);
    return failure_;
  }

 private:
  void ask() {
    while (!stopping_) {
      int64_t last_ns = 0;
      Answer answer([&](std::string_view) {
        const int64_t now_ns = monotonic_ns();
        std::lock_guard lock(mutex_);
        if (last_ns > 0) waits_ms_.push_back(static_cast<double>(now_ns - last_ns) / 1e6);
        last_ns = now_ns;
        return !stopping_;
      });
      auto started = runtime_.generate(realm_, {request_}, answer);
      const Result<void> result = started ? answer.wait() : Result<void>(fail(std::move(started)));
      if (result || stopping_) continue;
      std::lock_guard lock(mutex_);
      failure_ = result;
      return;
    }
  }

  runtime::Runtime& runtime_;
  const runtime::RealmHandle realm_;
  const std::string request_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::vector<double> waits_ms_;  // guarded
  Result<void> failure_;          // guarded
  std::thread thread_;            // last: it uses the others
};

// Uploads the module and runs it, as a customer would.
Result<void> attack_once(runtime::Runtime& runtime, const runtime::RealmHandle& realm, const Attack& attack) {
  const std::string module(attack.module.begin(), attack.module.end());
  std::promise<Result<std::shared_ptr<const sandbox::Program>>> opened;
  runtime.open_program(
      {.realm_id = realm.id(), .sha256 = sha256_hex(attack.module), .read = [&module]() -> Result<std::string> { return module; }},
      [&opened](auto program) { opened.set_value(std::move(program)); });
  auto program = opened.get_future().get();
  if (!program) return fail(std::move(program));
  Answer answer;
  runtime::Request request;
  request.program = std::move(*program);
  auto started = runtime.generate(realm, std::move(request), answer);
  if (!started) return fail(std::move(started));
  return answer.wait();
}

Stopped watch(runtime::Runtime& runtime, const runtime::RealmHandle& realm, Neighbour& neighbour, const Attack& attack) {
  Stopped stopped;
  stopped.attack = &attack;
  stopped.ok = true;
  (void)attack_once(runtime, realm, attack);  // the first time it is compiled, which is not the attack
  (void)neighbour.take_waits();
  std::vector<double> times_ms;
  for (const int64_t began_ns = monotonic_ns(); monotonic_ns() - began_ns < watched_ns;) {
    const int64_t attack_began_ns = monotonic_ns();
    const auto result = attack_once(runtime, realm, attack);
    times_ms.push_back(static_cast<double>(monotonic_ns() - attack_began_ns) / 1e6);
    stopped.how = result ? "it was not stopped" : result.error().message;
    stopped.ok = stopped.ok && !result && stopped.how.find(attack.expected) != std::string::npos;
    if (times_ms.back() < 1) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const auto waits = neighbour.take_waits();
  stopped.ms = quantile(times_ms, 0.5);
  stopped.times = static_cast<uint32_t>(times_ms.size());
  stopped.neighbour_p50_ms = quantile(waits, 0.5);
  stopped.neighbour_p99_ms = quantile(waits, 0.99);
  stopped.ok = stopped.ok && !waits.empty() && neighbour.failure();
  return stopped;
}

std::string text(double ms) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", ms);
  return text;
}

bool show(const std::vector<Stopped>& all, const std::vector<double>& alone, bool json) {
  const bool ok = std::all_of(all.begin(), all.end(), [](const Stopped& one) { return one.ok; });
  const double alone_p50_ms = quantile(alone, 0.5), alone_p99_ms = quantile(alone, 0.99);
  if (json) {
    boost::json::array list;
    for (const Stopped& one : all) {
      list.push_back({{"name", one.attack->name},
                      {"stopped", one.ok},
                      {"how", one.how},
                      {"ms", one.ms},
                      {"times", one.times},
                      {"neighbour_p50_ms", one.neighbour_p50_ms},
                      {"neighbour_p99_ms", one.neighbour_p99_ms}});
    }
    const boost::json::object all_of_it{
        {"ok", ok}, {"attacks", std::move(list)}, {"alone_p50_ms", alone_p50_ms}, {"alone_p99_ms", alone_p99_ms}};
    std::printf("%s\n", boost::json::serialize(all_of_it).c_str());
    return ok;
  }
  std::vector<std::vector<std::string>> rows = {{"", "ATTACK", "TIMES", "STOPPED AFTER", "NEIGHBOUR'S TOKENS, MS", "HOW"}};
  rows.push_back({"", "(none)", "", "", "p50 " + text(alone_p50_ms) + ", p99 " + text(alone_p99_ms), ""});
  for (const Stopped& one : all) {
    rows.push_back({one.ok ? "ok" : "not ok", one.attack->name, std::to_string(one.times), text(one.ms) + " ms",
                    "p50 " + text(one.neighbour_p50_ms) + ", p99 " + text(one.neighbour_p99_ms), printable(one.how)});
  }
  print_table(rows);
  return ok;
}

}  // namespace

int run_attacks(const RunOptions& options, Interrupts& interrupts) {
  auto runtime = start_runtime(options, 4, interrupts);
  if (!runtime) return report(runtime.error());
  runtime::RealmLimits limits;
  limits.instance.cpu_ms_max = attacker_cpu_ms_max;
  auto attacker = (*runtime)->create_realm("attacker", limits);
  if (!attacker) return report(attacker.error());
  auto neighbour_realm = (*runtime)->create_realm("neighbour", {});
  if (!neighbour_realm) return report(neighbour_realm.error());
  RunOptions asked = options;
  asked.max_tokens = neighbour_tokens_max;
  asked.ignore_eos = true;
  std::vector<double> alone;
  std::vector<Stopped> all;
  {
    Spinner spinner("attacking");
    Neighbour neighbour(**runtime, *neighbour_realm, request_json(asked, {{"user", "Tell a long story."}}));
    std::this_thread::sleep_for(std::chrono::nanoseconds(watched_ns / 3));  // its prompt
    (void)neighbour.take_waits();
    std::this_thread::sleep_for(std::chrono::nanoseconds(watched_ns));
    alone = neighbour.take_waits();
    for (const Attack& attack : attacks) all.push_back(watch(**runtime, *attacker, neighbour, attack));
    if (auto result = neighbour.failure(); !result) return report(result.error());
  }
  return show(all, alone, options.json) ? 0 : exit_failure;
}

}  // namespace realm::cli
