#include "runtime/runtime.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <random>
#include <thread>

#include "runtime/generation.h"

namespace realm::runtime {
namespace {

class Answer : public GenerationListener {
 public:
  EmitResult on_text(std::string_view piece) override {
    if (refuse_.exchange(false)) return EmitResult::full;
    text += piece;
    ++pieces;
    return gone ? EmitResult::gone : EmitResult::accepted;
  }
  EmitResult on_summary(std::string_view json) override {
    summary = json;
    return EmitResult::accepted;
  }
  void on_end(Result<void> how, const GenerationStats& final_stats) override {
    std::lock_guard lock(mutex_);
    result = std::move(how);
    stats = final_stats;
    ended_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_; });
  }
  bool ended() {
    std::lock_guard lock(mutex_);
    return ended_;
  }
  void refuse_next() { refuse_ = true; }

  std::string text, summary;
  std::atomic<int> pieces{0};
  std::atomic<bool> gone{false};
  Result<void> result;
  GenerationStats stats;

 private:
  std::atomic<bool> refuse_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  EXPECT_NE(value, nullptr) << "set " << name << " (`make test` does)";
  return value == nullptr ? "" : value;
}

class RuntimeTest : public ::testing::Test {
 protected:
  static RuntimeOptions options(const std::string& program) {
    RuntimeOptions options;
#ifdef __SANITIZE_THREAD__
    options.compute_threads = 1;  // as in src/engine/scheduler_test.cpp
#else
    options.compute_threads = 2;
#endif
    options.program = program;
    options.sandbox.instances_max = 64;
    options.scheduler.sequences_max = 8;
    options.scheduler.context_tokens_max = 512;
    return options;
  }
  static void SetUpTestSuite() {
    auto runtime = Runtime::create(options(environment("REALM_PROGRAM")));
    ASSERT_TRUE(runtime) << runtime.error().message;
    runtime_ = std::move(*runtime);
    auto loaded = runtime_->load_model({.file = environment("REALM_MODEL")});
    ASSERT_TRUE(loaded) << loaded.error().message;
  }
  static void TearDownTestSuite() { runtime_.reset(); }

  RealmHandle realm(RealmLimits limits = {}) {
    static int number = 0;
    auto made = runtime_->create_realm("realm-" + std::to_string(++number), limits);
    EXPECT_TRUE(made) << made.error().message;
    return *made;
  }
  static void ask(const RealmHandle& realm, const std::string& request, Answer& answer) {
    auto started = runtime_->generate(realm, {request}, answer);
    ASSERT_TRUE(started) << started.error().message;
    answer.wait();
  }
  static std::string chat(const std::string& text, const std::string& more = R"("temperature": 0, "max_tokens": 8)") {
    return R"({"messages": [{"role": "user", "content": ")" + text + R"("}], )" + more + "}";
  }

  static inline std::unique_ptr<Runtime> runtime_;
};

engine::SchedulerStats settle(const Runtime& runtime) {
  engine::SchedulerStats stats;
  for (int i = 0; i < 5'000; ++i) {
    stats = runtime.models().front().scheduler;
    if (stats.sequences_open == 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return stats;
}

TEST_F(RuntimeTest, AnswersAndCounts) {
  Answer answer;
  ask(realm(), chat("What is the capital of France?"), answer);
  ASSERT_TRUE(answer.result) << answer.result.error().message;
  EXPECT_FALSE(answer.text.empty());
  EXPECT_EQ(answer.stats.completion_tokens, 8u);
  EXPECT_GT(answer.stats.prompt_tokens, 10u);
  EXPECT_NE(answer.summary.find("\"completion_tokens\":8"), std::string::npos) << answer.summary;
  EXPECT_GT(answer.stats.time_to_first_token_ns, 0u);
  EXPECT_GT(answer.stats.guest_cpu_ns, 0u);
}

TEST_F(RuntimeTest, ManyRealmsAnswerAtOnceFromManyThreads) {
  std::vector<std::thread> callers;
  for (int i = 0; i < 12; ++i) {
    callers.emplace_back([&, mine = realm()] {
      Answer answer;
      ask(mine, chat("Hello"), answer);
      EXPECT_TRUE(answer.result) << answer.result.error().message;
      EXPECT_EQ(answer.stats.completion_tokens, 8u);
      runtime_->close_realm(mine);
    });
  }
  for (auto& caller : callers) caller.join();
}

TEST_F(RuntimeTest, NoTextOfOneRealmAppearsInAnother) {
  const char* words[] = {"BLUEHERON", "REDWALNUT"};
  const RealmHandle realms[] = {realm(), realm()};
  int own = 0;
  for (int round = 0; round < 10; ++round) {
    Answer answers[2];
    for (int i = 0; i < 2; ++i) {
      const std::string request = std::string(R"({"messages": [{"role": "system", "content": "The secret word is )") + words[i] +
                                  R"(. Repeat it."}, {"role": "user", "content": "What is the secret word?"}], "max_tokens": 16})";
      ASSERT_TRUE(runtime_->generate(realms[i], {request}, answers[i]));
    }
    for (int i = 0; i < 2; ++i) {
      answers[i].wait();
      own += answers[i].text.find(words[i]) != std::string::npos;
      EXPECT_EQ(answers[i].text.find(words[1 - i]), std::string::npos) << answers[i].text;
    }
  }
  EXPECT_GT(own, 3) << "the check sees the words at all";
}

TEST_F(RuntimeTest, SecondTurnReusesTheFirst) {
  const RealmHandle mine = realm();
  const std::string first = R"({"messages": [{"role": "user", "content": "My name is Ada and I like lighthouses very much."}],
    "temperature": 0, "max_tokens": 6})";
  Answer one, two, stranger;
  ask(mine, first, one);
  settle(*runtime_);
  ask(mine, first, two);
  settle(*runtime_);
  ask(realm(), first, stranger);
  EXPECT_EQ(one.stats.cached_tokens, 0u);
  EXPECT_EQ(two.stats.cached_tokens, two.stats.prompt_tokens - 1);
  EXPECT_EQ(stranger.stats.cached_tokens, 0u) << "another realm's prefix was used";
  EXPECT_EQ(one.text, two.text);
}

TEST_F(RuntimeTest, BadRequestsNameTheField) {
  const std::pair<const char*, ErrorCode> cases[] = {{"nonsense", ErrorCode::invalid_argument},
                                                     {R"({"messages": 5})", ErrorCode::invalid_argument},
                                                     {R"({"prompt": "x", "temperature": "hot"})", ErrorCode::invalid_argument},
                                                     {R"({"prompt": "x", "logit_bias": {"99999999": 1}})", ErrorCode::invalid_argument},
                                                     {R"({"prompt": "x", "model": "nobody"})", ErrorCode::not_found}};
  const RealmHandle mine = realm();
  for (const auto& [request, code] : cases) {
    Answer answer;
    ask(mine, request, answer);
    ASSERT_FALSE(answer.result) << request;
    EXPECT_EQ(answer.result.error().code, code) << answer.result.error().message;
  }
  Answer too_long;
  ask(mine, R"({"prompt": ")" + std::string(4'000, 'x') + R"("})", too_long);
  EXPECT_EQ(too_long.result.error().code, ErrorCode::context_exceeded) << too_long.result.error().message;
}

TEST_F(RuntimeTest, CancelLeavesTheBatch) {
  Answer answer;
  auto generation = runtime_->generate(realm(), {chat("Tell a long story", R"("ignore_eos": true)")}, answer);
  ASSERT_TRUE(generation);
  while (answer.pieces == 0) std::this_thread::yield();
  generation->cancel();
  answer.wait();
  EXPECT_EQ(answer.result.error().code, ErrorCode::cancelled);
  EXPECT_EQ(settle(*runtime_).kv_tokens_reserved, 0u);
}

TEST_F(RuntimeTest, ListenerThatIsGoneEndsTheRequest) {
  Answer answer;
  answer.gone = true;
  ask(realm(), chat("Tell a long story", R"("ignore_eos": true)"), answer);
  EXPECT_FALSE(answer.result);
  EXPECT_EQ(settle(*runtime_).sequences_open, 0u);
}

TEST_F(RuntimeTest, FullListenerSuspendsUntilResumed) {
  Answer answer;
  answer.refuse_next();
  auto generation = runtime_->generate(realm(), {chat("Hello")}, answer);
  ASSERT_TRUE(generation);
  while (!answer.ended()) {
    generation->resume();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(answer.result);
  EXPECT_FALSE(answer.text.empty());
}

TEST_F(RuntimeTest, CloseRealmEndsItsRequests) {
  const RealmHandle mine = realm();
  Answer answer, late;
  ASSERT_TRUE(runtime_->generate(mine, {chat("Tell a long story", R"("ignore_eos": true)")}, answer));
  while (answer.pieces == 0) std::this_thread::yield();
  runtime_->close_realm(mine);
  answer.wait();
  EXPECT_EQ(answer.result.error().code, ErrorCode::cancelled);
  EXPECT_EQ(runtime_->generate(mine, {chat("Hello")}, late).error().code, ErrorCode::unavailable);
}

TEST_F(RuntimeTest, LimitsOfARealmAreKept) {
  RealmLimits limits;
  limits.concurrent_requests_max = 1;
  limits.request_bytes_max = 400;
  limits.kv_tokens_max = 100;
  const RealmHandle mine = realm(limits);
  Answer first, second, large, hungry;
  EXPECT_EQ(runtime_->generate(mine, {std::string(401, ' ')}, large).error().code, ErrorCode::invalid_argument);
  ask(mine, chat("Hello", R"("max_tokens": 200)"), hungry);
  EXPECT_FALSE(hungry.result) << "200 tokens do not fit into 100";
  auto running = runtime_->generate(mine, {chat("Tell a story", R"("max_tokens": 50, "ignore_eos": true)")}, first);
  ASSERT_TRUE(running);
  EXPECT_EQ(runtime_->generate(mine, {chat("Hello")}, second).error().code, ErrorCode::resource_exhausted);
  running->cancel();
  first.wait();
}

TEST_F(RuntimeTest, CpuLimitOfARealmEndsItsProgram) {
  RealmLimits limits;
  limits.instance.cpu_ms_max = 1;
  Answer answer;
  // A megabyte of text to tokenise takes longer than a millisecond.
  std::string text;
  while (text.size() < 1'000'000) text += "many words and more ";
  ask(realm(limits), R"({"prompt": ")" + text + R"("})", answer);
  ASSERT_FALSE(answer.result);
  EXPECT_NE(answer.result.error().message.find("CPU"), std::string::npos) << answer.result.error().message;
}

TEST_F(RuntimeTest, RealmsAreChecked) {
  EXPECT_EQ(runtime_->create_realm("", {}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(runtime_->create_realm("../x", {}).error().code, ErrorCode::invalid_argument);
  RealmLimits limits;
  limits.weight = 0;
  EXPECT_EQ(runtime_->create_realm("weightless", limits).error().code, ErrorCode::invalid_argument);
  ASSERT_TRUE(runtime_->create_realm("twice", {}));
  EXPECT_EQ(runtime_->create_realm("twice", {}).error().code, ErrorCode::already_exists);
}

// -- every function of the program ABI with every argument at its edges, generated from the table

std::string compile(const std::string& text, const std::string& stem, const std::string& flags = "") {
  const std::string source = "/tmp/" + stem + ".wat";
  const std::string target = "/tmp/" + stem + ".wasm";
  std::ofstream(source) << text;
  EXPECT_EQ(std::system(("wat2wasm " + flags + " " + source + " -o " + target).c_str()), 0) << text;
  unlink(source.c_str());
  return target;
}

const char* wasm_type(sandbox::ValueKind kind) {
  if (kind == sandbox::ValueKind::i64) return "i64";
  return kind == sandbox::ValueKind::f32 ? "f32" : "i32";
}

// A program with a model, a sequence and ten tokens in it that calls one function many times, with values at the edges and, where a
// handle may stand, with handles that are valid. Its memory is addressed by 32 or 64 bits.
std::string hostile_program(const sandbox::HostFunction& function, bool memory64, unsigned seed) {
  static constexpr const char* edges[] = {"0", "1", "65535", "65536", "65537", "0x7fffffff", "0x80000000", "-1", "-4", "8", "4096"};
  static constexpr const char* wide_edges[] = {"0x100000000",        "0xffffffff", "0x7fffffffffffffff",
                                               "0x8000000000000000", "-65536",     "0x10000fff8"};
  const std::string pointer = memory64 ? "i64" : "i32";
  const auto type = [&](sandbox::ValueKind kind) { return kind == sandbox::ValueKind::pointer ? pointer : std::string(wasm_type(kind)); };
  std::mt19937 random(seed);
  std::string parameters, calls;
  for (const auto kind : function.parameters) parameters += " (param " + type(kind) + ")";
  const size_t rounds = function.parameters.empty() ? 1 : 250;
  for (size_t round = 0; round < rounds; ++round) {
    calls += "    (drop (call $f";
    for (const auto kind : function.parameters) {
      const bool wide = type(kind) == "i64" && random() % 3 == 0;
      const std::string edge = wide ? wide_edges[random() % 6] : edges[random() % 11];
      const unsigned handle = random() % 4;
      if (kind == sandbox::ValueKind::i32 && handle < 2) {
        calls += handle == 0 ? " (global.get $model)" : " (global.get $sequence)";
      } else {
        calls += " (" + type(kind) + ".const " + edge + ")";
      }
    }
    calls += "))\n";
  }
  const std::string zero = "(" + pointer + ".const 0)";
  return "(module (import \"" + function.module + "\" \"" + function.name + "\" (func $f" + parameters + " (result " +
         type(function.result) + ")))\n (import \"realm\" \"model_open\" (func $open (param " + pointer +
         " i32) (result i32)))\n (import \"realm\" \"seq_open\" (func $seq (param i32 " + pointer +
         ") (result i32)))\n (import \"realm\" \"seq_append\" (func $append (param i32 " + pointer +
         " i32) (result i32)))\n (memory (export \"memory\") " + (memory64 ? "i64 " : "") +
         "1)\n (global $model (mut i32) (i32.const 0)) (global $sequence (mut i32) (i32.const 0))\n"
         " (func (export \"realm_abi_v1\"))\n (func (export \"handle\") (result i32)\n"
         "  (global.set $model (call $open " +
         zero +
         " (i32.const 0)))\n"
         "  (i32.store " +
         zero +
         " (i32.const 40))\n"
         "  (global.set $sequence (call $seq (global.get $model) " +
         zero +
         "))\n"
         "  (if (i32.le_s (global.get $sequence) (i32.const 0)) (then unreachable))\n"
         "  (if (call $append (global.get $sequence) (" +
         pointer + ".const 64) (i32.const 10)) (then unreachable))\n" + calls + "    (i32.const 0)))";
}

TEST_F(RuntimeTest, HostileArgumentsOfEveryFunctionAreContained) {
  int functions = 0;
  for (const auto& function : program_abi_functions()) {
    for (const bool memory64 : {false, true}) {
      const std::string name = function.name + (memory64 ? " of a memory64 program" : "");
      const auto text = hostile_program(function, memory64, 7u + static_cast<unsigned>(functions));
      const auto program = compile(text, "realm-hostile-" + function.name, memory64 ? "--enable-memory64" : "");
      auto hostile = Runtime::create(options(program));
      ASSERT_TRUE(hostile) << name << ": " << hostile.error().message;
      ASSERT_TRUE((*hostile)->load_model({.file = environment("REALM_TINY_MODEL")}));
      RealmLimits limits;
      limits.instance.cpu_ms_max = 10'000;
      limits.instance.wall_ms_max = 60'000;
      Answer answer;
      auto realm = (*hostile)->create_realm("hostile", limits);
      ASSERT_TRUE((*hostile)->generate(*realm, {"{}"}, answer)) << name;
      answer.wait();
      // `fail` and `restart` may end the program; everything else gives an answer and lets it go on.
      if (function.name != "fail" && function.name != "restart") {
        EXPECT_TRUE(answer.result) << name << ": " << answer.result.error().message;
      }
      unlink(program.c_str());
    }
    ++functions;
  }
  EXPECT_GE(functions, 25);
  Answer healthy;
  ask(realm(), chat("Hello"), healthy);
  EXPECT_TRUE(healthy.result);
}

// A million guesses would name one handle in a million; these are the first 100,000 and a few thousand at random.
TEST_F(RuntimeTest, GuessedHandlesAllLookTheSame) {
  const std::string text = R"((module (import "realm" "seq_length" (func $length (param i32) (result i32)))
    (import "realm" "model_open" (func $open (param i32 i32) (result i32)))
    (memory (export "memory") 1) (func (export "realm_abi_v1"))
    (func (export "handle") (result i32) (local $i i32)
      (drop (call $open (i32.const 0) (i32.const 0)))
      (loop
        (if (i32.ne (call $length (local.get $i)) (i32.const -2)) (then unreachable))
        (if (i32.ne (call $length (i32.mul (local.get $i) (i32.const 40503))) (i32.const -2)) (then unreachable))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $i) (i32.const 100000))))
      (i32.const 0))))";
  const auto program = compile(text, "realm-guesses");
  auto guessing = Runtime::create(options(program));
  ASSERT_TRUE(guessing) << guessing.error().message;
  Answer answer;
  ASSERT_TRUE((*guessing)->generate(*(*guessing)->create_realm("guessing", {}), {""}, answer));
  answer.wait();
  EXPECT_TRUE(answer.result) << answer.result.error().message;
  unlink(program.c_str());
}

TEST_F(RuntimeTest, ProgramThatRestartsForEverIsEnded) {
  const auto program = compile(R"((module (import "realm" "restart" (func $restart (param i32 i32) (result i32)))
    (memory (export "memory") 1) (func (export "realm_abi_v1"))
    (func (export "handle") (result i32) (call $restart (i32.const 0) (i32.const 4)))))",
                               "realm-restarts");
  auto restarting = Runtime::create(options(program));
  ASSERT_TRUE(restarting) << restarting.error().message;
  Answer answer;
  ASSERT_TRUE((*restarting)->generate(*(*restarting)->create_realm("restarting", {}), {""}, answer));
  answer.wait();
  ASSERT_FALSE(answer.result);
  EXPECT_EQ(answer.result.error().message, "the program returned -4") << "the fifth restart is refused with REALM_LIMIT";
  EXPECT_EQ((*restarting)->sandbox_stats().instances_started, 5u);
  unlink(program.c_str());
}

}  // namespace
}  // namespace realm::runtime
