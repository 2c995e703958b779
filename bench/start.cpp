// What it costs to begin: a realm, an instance of realm.wasm, a host call, a suspension.
#include <future>

#include "base/clock.h"
#include "bench.h"
#include "sandbox/sandbox.h"

namespace realm::bench {
namespace {

// clang-format off
// (module
//   (import "bench" "plain" (func $plain (param i32) (result i32)))
//   (import "bench" "suspend" (func $suspend (param i32) (result i32)))
//   (func (export "calls_plain") (result i32) ;; and "calls_suspend" with $suspend
//     (local $i i32)
//     (loop (drop (call $plain (local.get $i))) (local.set $i (i32.add (local.get $i) (i32.const 1)))
//           (br_if 0 (i32.lt_u (local.get $i) (i32.const 1000000))))
//     (i32.const 0)))
constexpr uint8_t calling[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x0a, 0x02, 0x60, 0x01, 0x7f, 0x01, 0x7f, 0x60, 0x00, 0x01, 0x7f,
    0x02, 0x1f, 0x02, 0x05, 0x62, 0x65, 0x6e, 0x63, 0x68, 0x05, 0x70, 0x6c, 0x61, 0x69, 0x6e, 0x00, 0x00, 0x05, 0x62, 0x65,
    0x6e, 0x63, 0x68, 0x07, 0x73, 0x75, 0x73, 0x70, 0x65, 0x6e, 0x64, 0x00, 0x00, 0x03, 0x03, 0x02, 0x01, 0x01, 0x07, 0x1f,
    0x02, 0x0b, 0x63, 0x61, 0x6c, 0x6c, 0x73, 0x5f, 0x70, 0x6c, 0x61, 0x69, 0x6e, 0x00, 0x02, 0x0d, 0x63, 0x61, 0x6c, 0x6c,
    0x73, 0x5f, 0x73, 0x75, 0x73, 0x70, 0x65, 0x6e, 0x64, 0x00, 0x03, 0x0a, 0x3f, 0x02, 0x1e, 0x01, 0x01, 0x7f, 0x03, 0x40,
    0x20, 0x00, 0x10, 0x00, 0x1a, 0x20, 0x00, 0x41, 0x01, 0x6a, 0x21, 0x00, 0x20, 0x00, 0x41, 0xc0, 0x84, 0x3d, 0x49, 0x0d,
    0x00, 0x0b, 0x41, 0x00, 0x0b, 0x1e, 0x01, 0x01, 0x7f, 0x03, 0x40, 0x20, 0x00, 0x10, 0x01, 0x1a, 0x20, 0x00, 0x41, 0x01,
    0x6a, 0x21, 0x00, 0x20, 0x00, 0x41, 0xc0, 0x84, 0x3d, 0x49, 0x0d, 0x00, 0x0b, 0x41, 0x00, 0x0b,
};
// clang-format on
constexpr double calls = 1'000'000;

struct BenchHost {
  uint64_t polls = 0;
  int32_t plain(sandbox::HostCall&, int32_t value) { return value; }
  // Every call suspends once: the first poll says "not yet", a wake brings the second.
  std::optional<int32_t> suspend(sandbox::HostCall& call, int32_t value) {
    if (++polls % 2 == 0) return value;
    call.waker().wake();
    return std::nullopt;
  }
};

double nanoseconds_a_call(sandbox::Sandbox& sandbox, const std::shared_ptr<const sandbox::Program>& program, const char* entry) {
  BenchHost host;
  std::promise<sandbox::Outcome> ended;
  sandbox::StartOptions options;
  options.entry = entry;
  options.host = &host;
  options.on_end = [&ended](sandbox::Outcome&& outcome) { ended.set_value(std::move(outcome)); };
  const int64_t began_ns = monotonic_ns();
  if (!sandbox.start(program, std::move(options))) return 0;
  const auto outcome = ended.get_future().get();
  if (outcome.kind != sandbox::OutcomeKind::finished) return 0;
  return static_cast<double>(monotonic_ns() - began_ns) / calls;
}

boost::json::object spread(const std::vector<double>& microseconds) {
  return {{"p50_us", percentile(microseconds, 0.5)}, {"p99_us", percentile(microseconds, 0.99)}, {"count", microseconds.size()}};
}

}  // namespace

boost::json::object start_latency(const Setup& setup) {
  auto runtime = make_runtime(setup, 1, 256, false);
  const int count = setup.quick ? 1'000 : 10'000;
  std::vector<double> to_first_instruction;
  std::vector<double> instance_alone;
  for (int i = 0; i < count; ++i) {
    Collector collector;
    const int64_t began_ns = monotonic_ns();
    const auto realm = make_realm(*runtime, "realm-" + std::to_string(i));
    const auto created_ns = static_cast<double>(monotonic_ns() - began_ns);
    // An empty object is refused by the program itself: all that is measured here has happened by then.
    if (!runtime->generate(realm, {"{}"}, collector)) break;
    collector.wait();
    to_first_instruction.push_back((created_ns + static_cast<double>(collector.stats.instance_start_ns)) / 1e3);
    instance_alone.push_back(static_cast<double>(collector.stats.instantiate_ns) / 1e3);
    runtime->close_realm(realm);
  }
  return {{"create_realm_to_first_instruction", spread(to_first_instruction)}, {"instance_of_realm_wasm_alone", spread(instance_alone)}};
}

boost::json::object guest_cpu(const Setup& setup) {
  const int rounds = setup.quick ? 20 : 200;
  auto runtime = make_runtime(setup, 1, 2'048);
  const auto realm = make_realm(*runtime, "realm");
  const auto measure = [&](const boost::json::object& fields) {
    std::vector<double> microseconds, without_tokenizer;
    for (int i = 0; i < rounds; ++i) {
      Collector collector;
      if (!runtime->generate(realm, {request(fields)}, collector)) break;
      collector.wait();
      if (!collector.error.empty()) break;
      microseconds.push_back(static_cast<double>(collector.stats.guest_cpu_ns) / 1e3);
      without_tokenizer.push_back(microseconds.back() - static_cast<double>(collector.stats.tokenizer_cpu_ns) / 1e3);
    }
    auto figures = spread(microseconds);
    figures["without_tokenizer_p50_us"] = median(without_tokenizer);
    return figures;
  };
  boost::json::object figures;
  figures["prompt_without_template"] = measure({{"prompt", filler_text(20, 0)}, {"max_tokens", 1}});
  for (const uint32_t turns : {1u, 9u}) {
    boost::json::array messages;
    const auto add = [&](const char* role, const std::string& content) { messages.push_back({{"role", role}, {"content", content}}); };
    add("system", "You are a helpful assistant.");
    for (uint32_t turn = 0; turn < turns; ++turn) add(turn % 2 == 0 ? "user" : "assistant", filler_text(20, turn));
    figures["chat_of_" + std::to_string(turns + 1) + "_messages"] = measure({{"messages", messages}, {"max_tokens", 1}});
  }
  return figures;
}

boost::json::object host_call_cost(const Setup& setup) {
  std::vector<sandbox::HostFunction> functions = {sandbox::host_function<&BenchHost::plain, int32_t(int32_t), -3>("bench", "plain"),
                                                  sandbox::host_function<&BenchHost::suspend, int32_t(int32_t), -3>("bench", "suspend")};
  auto sandbox = sandbox::Sandbox::create({.instances_max = 64, .workers = 1}, std::move(functions)).value();
  const auto program = sandbox->load(calling, {}).value();
  std::vector<double> plain, suspended;
  for (int i = 0; i < (setup.quick ? 3 : 7); ++i) {
    plain.push_back(nanoseconds_a_call(*sandbox, program, "calls_plain"));
    suspended.push_back(nanoseconds_a_call(*sandbox, program, "calls_suspend"));
  }
  return {{"plain_call_ns", median(plain)}, {"suspend_and_resume_ns", median(suspended)}};
}

}  // namespace realm::bench
