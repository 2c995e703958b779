// `realm doctor`: is everything here that is needed, and does it do what it should.
#include <sys/utsname.h>

#include <boost/json.hpp>
#include <cstdio>
#include <future>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/engine_start.h"
#include "cli/paths.h"
#include "cli/terminal.h"
#include "cli/version.h"
#include "engine/backend.h"
#include "engine/physical_cores.h"

namespace realm::cli {
namespace {

struct Check {
  std::string name;
  bool ok;
  std::string detail;
};

// (module (func (export "handle") (result i32) unreachable))
constexpr uint8_t trapping[] = {0, 'a', 's', 'm', 1,   0,   0,   0,   1,   5,   1, 0x60, 0,  1, 0x7f, 3, 2, 1,    0,
                                7, 10,  1,   6,   'h', 'a', 'n', 'd', 'l', 'e', 0, 0,    10, 5, 1,    3, 0, 0x00, 0x0b};
// (module (func (export "handle") (result i32) (loop (br 0)) (i32.const 0)))
constexpr uint8_t looping[] = {0, 'a', 's', 'm', 1,   0,   0,   0, 1, 5,  1,  0x60, 0, 1, 0x7f, 3,    2,    1,    0,    7,    10,   1,
                               6, 'h', 'a', 'n', 'd', 'l', 'e', 0, 0, 10, 11, 1,    9, 0, 0x03, 0x40, 0x0c, 0x00, 0x0b, 0x41, 0x00, 0x0b};
// (module (memory (export "memory") 1)
//   (func (export "handle") (result i32) (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))
constexpr uint8_t hoarding[] = {0,   'a', 's',  'm',  1,    0,    0,    0,    1,    5,    1,    0x60, 0,    1,    0x7f, 3,
                                2,   1,   0,    5,    3,    1,    0,    1,    7,    19,   2,    6,    'm',  'e',  'm',  'o',
                                'r', 'y', 2,    0,    6,    'h',  'a',  'n',  'd',  'l',  'e',  0,    0,    10,   17,   1,
                                15,  0,   0x03, 0x40, 0x41, 0x10, 0x40, 0x00, 0x41, 0x7f, 0x47, 0x0d, 0x00, 0x0b, 0x00, 0x0b};

Check sandbox_check(sandbox::Sandbox& sandbox, const char* name, std::span<const uint8_t> wasm, sandbox::OutcomeKind expected) {
  auto program = sandbox.load(wasm, {});
  if (!program) return {name, false, program.error().message};
  std::promise<sandbox::Outcome> ended;
  sandbox::StartOptions options;
  options.limits.cpu_ms_max = 50;
  options.on_end = [&ended](sandbox::Outcome&& outcome) { ended.set_value(std::move(outcome)); };
  const int64_t began_ns = monotonic_ns();
  if (auto started = sandbox.start(*program, std::move(options)); !started) return {name, false, started.error().message};
  const auto outcome = ended.get_future().get();
  char time[32];
  std::snprintf(time, sizeof time, " after %.1f ms", static_cast<double>(monotonic_ns() - began_ns) / 1e6);
  return {name, outcome.kind == expected, std::string(sandbox::outcome_name(outcome.kind)) + time};
}

void check_sandbox(std::vector<Check>& checks) {
  auto sandbox = sandbox::Sandbox::create({.instances_max = 4}, {});
  if (!sandbox) {
    checks.push_back({"sandbox", false, sandbox.error().message});
    return;
  }
  checks.push_back(sandbox_check(**sandbox, "a trap is caught", trapping, sandbox::OutcomeKind::trapped));
  checks.push_back(sandbox_check(**sandbox, "an endless loop is stopped", looping, sandbox::OutcomeKind::cpu_exceeded));
  checks.push_back(sandbox_check(**sandbox, "a memory hog is stopped", hoarding, sandbox::OutcomeKind::out_of_memory));
}

void check_machine(std::vector<Check>& checks, const RunOptions& options) {
  utsname system{};
  uname(&system);
  checks.push_back(
      {"version", true, std::string("realm ") + version + ", " + system.sysname + " " + system.release + " " + system.machine});
  if (auto chosen = choose_kernels(options); !chosen) checks.push_back({"kernels", false, chosen.error().message});
  checks.push_back({"cpu", true, std::to_string(engine::physical_cores()) + " cores, kernels " + engine::cpu_kernels_description()});
  std::string devices;
  for (const auto& device : engine::backend_devices())
    devices += (devices.empty() ? "" : "; ") + device.backend + " (" + device.description + ")";
  auto backend = engine::parse_backend(options.backend);
  const auto wanted = backend ? engine::require_backend(*backend) : Result<void>(fail(std::move(backend)));
  checks.push_back({"backends", wanted.has_value(), wanted ? devices : wanted.error().message});
  checks.push_back({"memory", true, std::to_string(free_memory_bytes() >> 20) + " MiB free"});
  std::error_code error;
  const auto code = cache_folder() / "code";
  std::filesystem::create_directories(cache_folder(), error);
  const bool writable = !error;
  checks.push_back({"code cache", writable, code.string() + (writable ? "" : ": " + error.message())});
}

void check_model(std::vector<Check>& checks, RunOptions options, Interrupts& interrupts) {
  auto runtime = start_runtime(options, 1, interrupts);
  if (!runtime) {
    checks.push_back({"model", false, runtime.error().message});
    return;
  }
  const auto info = (*runtime)->models().front();
  checks.push_back({"model", true,
                    info.model.name + ", " + info.model.architecture + ", " + info.model.quantization + ", " +
                        std::to_string(info.model.weights_bytes >> 20) + " MiB, context " +
                        std::to_string(info.scheduler.context_tokens_max)});
  options.max_tokens = 8;
  options.temperature = 0;
  Answer answer;
  auto realm = (*runtime)->create_realm("doctor", {});
  auto generation = realm ? (*runtime)->generate(*realm, {request_json(options, {{"user", "Say hello."}})}, answer)
                          : Result<runtime::GenerationHandle>(fail(std::move(realm)));
  if (!generation) {
    checks.push_back({"answer", false, generation.error().message});
    return;
  }
  const auto& result = answer.wait();
  const bool answered = result.has_value() && answer.stats().completion_tokens > 0;
  char detail[64];
  std::snprintf(detail, sizeof detail, "%u tokens, %.0f ms to the first", answer.stats().completion_tokens, answer.ttft_ms());
  checks.push_back({"answer", answered, result ? detail : result.error().message});
}

}  // namespace

int run_doctor(const RunOptions& options, Interrupts& interrupts) {
  std::vector<Check> checks;
  check_machine(checks, options);
  check_sandbox(checks);
  check_model(checks, options, interrupts);
  bool all_ok = true;
  boost::json::array list;
  for (const Check& check : checks) {
    all_ok = all_ok && check.ok;
    if (options.json) {
      list.push_back({{"name", check.name}, {"ok", check.ok}, {"detail", check.detail}});
    } else {
      std::printf("%-6s %-28s %s\n", check.ok ? "ok" : "not ok", check.name.c_str(), printable(check.detail).c_str());
    }
  }
  if (options.json) std::printf("%s\n", boost::json::serialize(boost::json::object{{"ok", all_ok}, {"checks", std::move(list)}}).c_str());
  return all_ok ? 0 : exit_failure;
}

}  // namespace realm::cli
