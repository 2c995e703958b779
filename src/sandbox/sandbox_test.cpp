#include "sandbox/sandbox.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <future>
#include <random>
#include <stdexcept>
#include <thread>

#include "base/clock.h"
#include "base/memory.h"
#include "sandbox/module_text.h"

namespace realm::sandbox {
namespace {

constexpr int32_t fault = -3;

// ThreadSanitizer leaves less address space than a thousand reservations of 4 GiB need.
#if defined(__SANITIZE_THREAD__)
constexpr int many = 100;
#else
constexpr int many = 1'000;
#endif

// The host's side of the test programs.
struct Host {
  std::mutex mutex;
  std::vector<Waker> wakers;
  std::atomic<bool> open{false};
  std::atomic<int> polls{0};
  std::atomic<int> calls{0};

  std::optional<int32_t> wait(HostCall& call, int32_t value) {
    std::lock_guard lock(mutex);
    wakers.push_back(call.waker());
    ++polls;
    if (!open.load()) return std::nullopt;
    return value + 1;
  }
  std::optional<int32_t> wait_woken_early(HostCall& call) {
    call.waker().wake();
    call.waker().wake();
    return ++polls < 3 ? std::nullopt : std::optional(7);
  }
  std::optional<int32_t> compute(HostCall& call) {
    while (!open.load()) {
      ++polls;
      for (const int64_t until = monotonic_ns() + 500'000; monotonic_ns() < until;) {
      }
      if (call.turn_is_over()) return std::nullopt;
    }
    return 5;
  }
  int32_t add(HostCall&, int32_t a, int32_t b) {
    ++calls;
    return a + b;
  }
  int32_t fill(HostCall&, std::span<int32_t> numbers) {
    ++calls;
    std::fill(numbers.begin(), numbers.end(), 5);
    return static_cast<int32_t>(numbers.size());
  }
  int32_t end(HostCall& call, int32_t code) {
    call.end(code, "the host has had enough");
    return 0;
  }
  std::optional<int32_t> wait_then_end(HostCall& call) {
    if (++polls < 2) {
      call.waker().wake();
      return std::nullopt;
    }
    call.end(9, "ended while it waited");
    return 0;
  }
  int32_t in_background(HostCall&) { return sched_getscheduler(0) == SCHED_IDLE ? 1 : 0; }  // the calling thread
  int32_t throws(HostCall&) { throw std::runtime_error("a bug in the host function"); }
};

std::vector<HostFunction> host_functions() {
  return {host_function<&Host::wait, int32_t(int32_t), fault>("test", "wait"),
          host_function<&Host::wait_woken_early, int32_t(), fault>("test", "wait_woken_early"),
          host_function<&Host::compute, int32_t(), fault>("test", "compute"),
          host_function<&Host::add, int32_t(int32_t, int32_t), fault>("test", "add"),
          host_function<&Host::fill, int32_t(int32_t*, uint32_t), fault>("test", "fill"),
          host_function<&Host::end, int32_t(int32_t), fault>("test", "end"),
          host_function<&Host::wait_then_end, int32_t(), fault>("test", "wait_then_end"),
          host_function<&Host::in_background, int32_t(), fault>("test", "in_background"),
          host_function<&Host::throws, int32_t(), fault>("test", "throws")};
}

class SandboxTest : public ::testing::Test {
 protected:
  void SetUp() override { sandbox_ = make({.instances_max = many + 100}); }

  static std::unique_ptr<Sandbox> make(const SandboxOptions& options) {
    auto sandbox = Sandbox::create(options, host_functions());
    EXPECT_TRUE(sandbox) << sandbox.error().message;
    return sandbox ? std::move(*sandbox) : nullptr;
  }
  std::shared_ptr<const Program> load(const std::string& text) {
    auto program = sandbox_->load(compile(text), {});
    EXPECT_TRUE(program) << program.error().message;
    return program ? *program : nullptr;
  }

  struct Run {
    InstanceHandle handle;
    std::future<Outcome> outcome;
  };
  Run start(const std::shared_ptr<const Program>& program, InstanceLimits limits = {}, void* host = nullptr) {
    auto ended = std::make_shared<std::promise<Outcome>>();
    Run run{{}, ended->get_future()};
    StartOptions options;
    options.limits = limits;
    options.host = host != nullptr ? host : &host_;
    options.on_end = [ended](Outcome&& outcome) { ended->set_value(std::move(outcome)); };
    auto started = sandbox_->start(program, std::move(options));
    EXPECT_TRUE(started) << started.error().message;
    if (started) run.handle = *started;
    return run;
  }
  Outcome run(const std::string& text, InstanceLimits limits = {}) { return start(load(text), limits).outcome.get(); }
  // Beside every hostile guest a healthy one has to go on as if nothing were.
  void expect_healthy_neighbour() {
    const auto outcome = run(R"((module (func (export "handle") (result i32) (i32.const 42))))");
    EXPECT_EQ(outcome.kind, OutcomeKind::finished);
    EXPECT_EQ(outcome.result, 42);
  }

  Host host_;
  std::unique_ptr<Sandbox> sandbox_;
};

constexpr const char* endless = R"((module (func (export "handle") (result i32) (loop (br 0)) (i32.const 0))))";
constexpr const char* waiting = R"((module (import "test" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "handle") (result i32) (call $wait (i32.const 41)))))";

TEST_F(SandboxTest, ResultIsHandedBack) { expect_healthy_neighbour(); }

TEST_F(SandboxTest, CpuIsLimited) {
  const auto program = load(endless);
  const int64_t began = monotonic_ns();
  auto hostile = start(program, {.cpu_ms_max = 30});
  expect_healthy_neighbour();
  const auto outcome = hostile.outcome.get();
  EXPECT_EQ(outcome.kind, OutcomeKind::cpu_exceeded);
  EXPECT_GE(outcome.cpu_ns, 30'000'000u);
  EXPECT_LT(monotonic_ns() - began, 5'000'000'000);
}

TEST_F(SandboxTest, WallTimeIsLimitedWhileRunning) {
  EXPECT_EQ(run(endless, {.cpu_ms_max = 60'000, .wall_ms_max = 30}).kind, OutcomeKind::wall_exceeded);
  expect_healthy_neighbour();
}

TEST_F(SandboxTest, WallTimeIsLimitedWhileSuspended) {
  EXPECT_EQ(run(waiting, {.wall_ms_max = 30}).kind, OutcomeKind::wall_exceeded);
  expect_healthy_neighbour();
}

TEST_F(SandboxTest, MemoryIsLimited) {
  const auto outcome = run(R"((module (memory (export "memory") 1)
    (func (export "handle") (result i32)
      (loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable)))",
                           {.memory_bytes_max = 4u << 20});
  EXPECT_EQ(outcome.kind, OutcomeKind::out_of_memory);
  EXPECT_LE(outcome.memory_bytes_peak, 4u << 20);
  expect_healthy_neighbour();
}

TEST_F(SandboxTest, MemoryBeyondTheLimitIsRefusedFromTheStart) {
  EXPECT_EQ(
      run(R"((module (memory (export "memory") 100) (func (export "handle") (result i32) (i32.const 0))))", {.memory_bytes_max = 1u << 20})
          .kind,
      OutcomeKind::refused);
}

TEST_F(SandboxTest, TableIsLimited) {
  const auto outcome = run(R"((module (table $t 1 funcref)
    (func (export "handle") (result i32) (table.grow $t (ref.null func) (i32.const 2000000)))))");
  EXPECT_EQ(outcome.kind, OutcomeKind::finished);
  EXPECT_EQ(outcome.result, -1);
}

TEST_F(SandboxTest, StackIsLimited) {
  const auto outcome = run(R"((module (func $f (export "handle") (result i32) (i32.add (call $f) (i32.const 1)))))");
  EXPECT_EQ(outcome.kind, OutcomeKind::trapped);
  EXPECT_EQ(outcome.trap, TrapCode::stack_overflow);
  expect_healthy_neighbour();
}

TEST_F(SandboxTest, TrapsAreToldApart) {
  const std::pair<const char*, TrapCode> cases[] = {
      {R"((module (func (export "handle") (result i32) unreachable)))", TrapCode::unreachable},
      {R"((module (memory (export "memory") 1) (func (export "handle") (result i32) (i32.load (i32.const 65536)))))",
       TrapCode::memory_out_of_bounds},
      {R"((module (func (export "handle") (result i32) (i32.div_s (i32.const 1) (i32.const 0)))))", TrapCode::integer_division_by_zero},
      {R"((module (type $v (func)) (table 1 funcref) (func (export "handle") (result i32)
         (call_indirect (type $v) (i32.const 0)) (i32.const 0))))",
       TrapCode::indirect_call_to_null}};
  for (const auto& [text, code] : cases) {
    const auto outcome = run(text);
    EXPECT_EQ(outcome.kind, OutcomeKind::trapped) << text;
    EXPECT_EQ(outcome.trap, code) << text << " " << outcome.message;
    EXPECT_EQ(outcome.message.find('\n'), std::string::npos);
  }
  expect_healthy_neighbour();
}

TEST_F(SandboxTest, LoopingStartFunctionIsStopped) {
  EXPECT_EQ(
      run(R"((module (func $s (loop (br 0))) (start $s) (func (export "handle") (result i32) (i32.const 0))))", {.cpu_ms_max = 20}).kind,
      OutcomeKind::cpu_exceeded);
}

TEST_F(SandboxTest, MissingEntryIsRefused) {
  const auto outcome = run(R"((module (func (export "other") (result i32) (i32.const 0))))");
  EXPECT_EQ(outcome.kind, OutcomeKind::refused);
  EXPECT_NE(outcome.message.find("handle"), std::string::npos);
}

TEST_F(SandboxTest, CancelEndsARunningLoop) {
  auto hostile = start(load(endless), {.cpu_ms_max = 60'000});
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  hostile.handle.cancel();
  EXPECT_EQ(hostile.outcome.get().kind, OutcomeKind::cancelled);
  expect_healthy_neighbour();
}

TEST_F(SandboxTest, CancelEndsASuspendedGuest) {
  auto guest = start(load(waiting));
  while (host_.polls == 0) std::this_thread::yield();
  guest.handle.cancel();
  EXPECT_EQ(guest.outcome.get().kind, OutcomeKind::cancelled);
  guest.handle.cancel();
  for (const Waker& waker : host_.wakers) waker.wake();  // late wakes find nothing
  expect_healthy_neighbour();
}

TEST_F(SandboxTest, SuspendedGuestGoesOnWhenWoken) {
  auto guest = start(load(waiting));
  while (host_.polls == 0) std::this_thread::yield();
  host_.open = true;
  Waker waker;
  {
    std::lock_guard lock(host_.mutex);
    waker = host_.wakers.front();
  }
  waker.wake();
  waker.wake();
  const auto outcome = guest.outcome.get();
  EXPECT_EQ(outcome.kind, OutcomeKind::finished);
  EXPECT_EQ(outcome.result, 42);
  waker.wake();
}

// A tick takes a core away from steps that are computed on all of them. One each millisecond would be 500 here.
TEST_F(SandboxTest, GuestsThatWaitCauseFewTicks) {
  auto guest = start(load(waiting));
  while (host_.polls == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_nvcsw - before.ru_nvcsw, 250);
  guest.handle.cancel();
  EXPECT_EQ(guest.outcome.get().kind, OutcomeKind::cancelled);
}

TEST_F(SandboxTest, WakeBeforeTheGuestHasSuspendedIsNotLost) {
  EXPECT_EQ(
      run(R"((module (import "test" "wait_woken_early" (func $f (result i32))) (func (export "handle") (result i32) (call $f))))").result,
      7);
}

constexpr const char* computing =
    R"((module (import "test" "compute" (func $f (result i32))) (func (export "handle") (result i32) (call $f))))";

TEST_F(SandboxTest, AHostFunctionThatComputesForLongTakesTurnsWithOtherGuests) {
  sandbox_ = make({.instances_max = 10, .workers = 1});
  auto guest = start(load(computing));
  while (host_.polls == 0) std::this_thread::yield();
  expect_healthy_neighbour();
  const int64_t began = monotonic_ns();
  while (sandbox_->stats().moved_to_background == 0 && monotonic_ns() - began < 5'000'000'000) std::this_thread::yield();
  EXPECT_EQ(sandbox_->stats().moved_to_background, 1u);
  expect_healthy_neighbour();  // the one worker of the foreground is free for it
  host_.open = true;
  const auto outcome = guest.outcome.get();
  EXPECT_EQ(outcome.kind, OutcomeKind::finished);
  EXPECT_EQ(outcome.result, 5);
  EXPECT_GT(outcome.cpu_ns, 0u);
}

// Computes until it finds itself in the background, waits, and tells where it is then.
constexpr const char* moving = R"((module (import "test" "in_background" (func $in_background (result i32)))
  (import "test" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "handle") (result i32)
    (loop $more (br_if $more (i32.eqz (call $in_background))))
    (drop (call $wait (i32.const 1)))
    (call $in_background))))";

TEST_F(SandboxTest, WhoComputesForLongGoesOnInTheBackgroundUntilItHasWaited) {
  for (const bool waits : {false, true}) {
    Host host;
    const uint64_t moved = sandbox_->stats().moved_to_background;
    auto guest = start(load(moving), {.cpu_ms_max = 2'000}, &host);
    while (host.polls == 0 && guest.outcome.wait_for(std::chrono::milliseconds(1)) == std::future_status::timeout) {
    }
    expect_healthy_neighbour();
    if (waits) std::this_thread::sleep_for(std::chrono::milliseconds(400));
    host.open = true;
    {
      std::lock_guard lock(host.mutex);
      for (const Waker& waker : host.wakers) waker.wake();
    }
    const auto outcome = guest.outcome.get();
    EXPECT_EQ(outcome.kind, OutcomeKind::finished);
    EXPECT_GE(outcome.cpu_ns, SandboxOptions{}.foreground_cpu_ms * 1'000'000);
    EXPECT_EQ(sandbox_->stats().moved_to_background, moved + 1);
    EXPECT_EQ(outcome.result, waits ? 0 : 1);
  }
}

TEST_F(SandboxTest, AHostFunctionThatComputesForLongEndsWithItsInstance) {
  const auto program = load(computing);
  const auto outcome = start(program, {.cpu_ms_max = 30}).outcome.get();
  EXPECT_EQ(outcome.kind, OutcomeKind::cpu_exceeded);
  EXPECT_GE(outcome.cpu_ns, 30'000'000u);
  EXPECT_LT(outcome.cpu_ns, 200'000'000u);
  EXPECT_EQ(start(program, {.cpu_ms_max = 60'000, .wall_ms_max = 30}).outcome.get().kind, OutcomeKind::wall_exceeded);
  auto cancelled = start(program, {.cpu_ms_max = 60'000});
  cancelled.handle.cancel();
  EXPECT_EQ(cancelled.outcome.get().kind, OutcomeKind::cancelled);
  expect_healthy_neighbour();
}

TEST_F(SandboxTest, ThousandSuspendedAtOnce) {
  const auto program = load(waiting);
  std::vector<Run> runs;
  for (int i = 0; i < many; ++i) runs.push_back(start(program));
  while (host_.polls < many) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(sandbox_->stats().instances_live, static_cast<uint32_t>(many));
  host_.open = true;
  std::vector<Waker> wakers;
  {
    std::lock_guard lock(host_.mutex);
    wakers = host_.wakers;
  }
  std::shuffle(wakers.begin(), wakers.end(), std::mt19937(1));
  std::thread other([&] {
    for (const Waker& waker : wakers) waker.wake();
  });
  for (auto& one : runs) EXPECT_EQ(one.outcome.get().result, 42);
  other.join();
}

TEST_F(SandboxTest, ThousandSuspendedAreCancelled) {
  const auto program = load(waiting);
  std::vector<Run> runs;
  for (int i = 0; i < many; ++i) runs.push_back(start(program));
  while (host_.polls < many) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  for (auto& one : runs) one.handle.cancel();
  for (auto& one : runs) EXPECT_EQ(one.outcome.get().kind, OutcomeKind::cancelled);
}

TEST_F(SandboxTest, InstancesAreLimited) {
  sandbox_ = make({.instances_max = 2});
  const auto program = load(waiting);
  auto first = start(program);
  auto second = start(program);
  StartOptions options;
  options.host = &host_;
  const auto third = sandbox_->start(program, options);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, ErrorCode::resource_exhausted);
  EXPECT_NE(third.error().message.find("instances_max"), std::string::npos);
  first.handle.cancel();
  second.handle.cancel();
  first.outcome.get();
  second.outcome.get();
  expect_healthy_neighbour();
}

TEST_F(SandboxTest, DestroyingTheSandboxEndsEverything) {
  auto suspended = start(load(waiting));
  auto running = start(load(endless), {.cpu_ms_max = 60'000});
  while (host_.polls == 0) std::this_thread::yield();
  sandbox_.reset();
  EXPECT_EQ(suspended.outcome.get().kind, OutcomeKind::cancelled);
  EXPECT_EQ(running.outcome.get().kind, OutcomeKind::cancelled);
  for (const Waker& waker : host_.wakers) waker.wake();
}

TEST_F(SandboxTest, RecycledMemoryIsZero) {
  sandbox_ = make({.instances_max = 1});
  const auto dirty = load(R"((module (memory (export "memory") 4)
    (func (export "handle") (result i32) (memory.fill (i32.const 0) (i32.const 255) (i32.const 262144)) unreachable)))");
  const auto look = load(R"((module (memory (export "memory") 4)
    (func (export "handle") (result i32) (local $at i32) (local $sum i32)
      (loop (local.set $sum (i32.or (local.get $sum) (i32.load (local.get $at))))
            (local.set $at (i32.add (local.get $at) (i32.const 4)))
            (br_if 0 (i32.lt_u (local.get $at) (i32.const 262144))))
      (local.get $sum))))");
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(start(dirty).outcome.get().kind, OutcomeKind::trapped);
    EXPECT_EQ(start(look).outcome.get().result, 0);
  }
}

TEST_F(SandboxTest, MemoryOfAGuestThatHadMuchIsGivenBackWhenItEnds) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer's shadow of the memory stays";
#endif
  const auto hog = load(R"((module (memory (export "memory") 960)
    (func (export "handle") (result i32) (memory.fill (i32.const 0) (i32.const 255) (i32.const 62914560)) unreachable)))");
  EXPECT_EQ(start(hog).outcome.get().kind, OutcomeKind::trapped);
  const uint64_t before = process_memory().resident_bytes;
  for (int i = 0; i < 6; ++i) EXPECT_EQ(start(hog).outcome.get().kind, OutcomeKind::trapped);
  EXPECT_LT(process_memory().resident_bytes, before + (60u << 20)) << "less than one of the six is still there";
}

TEST_F(SandboxTest, HostFunctionsGetTheirArguments) {
  EXPECT_EQ(run(R"((module (import "test" "add" (func $add (param i32 i32) (result i32)))
    (func (export "handle") (result i32) (call $add (i32.const 30) (i32.const -7)))))")
                .result,
            23);
}

TEST_F(SandboxTest, PointersOutsideTheMemoryFaultAndTouchNothing) {
  const std::string text = R"((module (import "test" "fill" (func $fill (param i32 i32) (result i32))) (memory (export "memory") 1)
    (func (export "handle") (result i32) (call $fill (i32.const POINTER) (i32.const COUNT)))))";
  const std::pair<const char*, const char*> bad[] = {{"65536", "1"}, {"65532", "2"}, {"0", "16385"}, {"-4", "1"},   {"4", "0x40000000"},
                                                     {"0", "-1"},    {"-4", "-1"},   {"2", "1"},     {"65533", "0"}};
  for (const auto& [pointer, count] : bad) {
    std::string filled = text;
    filled.replace(filled.find("POINTER"), 7, pointer);
    filled.replace(filled.find("COUNT"), 5, count);
    const int calls = host_.calls;
    EXPECT_EQ(run(filled).result, fault) << pointer << " " << count;
    EXPECT_EQ(host_.calls, calls) << pointer << " " << count;
  }
  const std::pair<const char*, int> good[] = {{"0", 16'384}, {"65532", 1}, {"65536", 0}};
  for (const auto& [pointer, count] : good) {
    std::string filled = text;
    filled.replace(filled.find("POINTER"), 7, pointer);
    filled.replace(filled.find("COUNT"), 5, std::to_string(count));
    EXPECT_EQ(run(filled).result, count) << pointer;
  }
}

TEST_F(SandboxTest, PointerArgumentsWithoutAMemoryFault) {
  EXPECT_EQ(run(R"((module (import "test" "fill" (func $fill (param i32 i32) (result i32)))
    (func (export "handle") (result i32) (call $fill (i32.const 0) (i32.const 1)))))")
                .result,
            fault);
}

TEST_F(SandboxTest, Memory64ProgramsUseTheSameFunctions) {
  const char* text = R"((module (import "test" "fill" (func $fill (param i64 i32) (result i32))) (memory (export "memory") i64 1)
    (func (export "handle") (result i32)
      (if (i32.ne (call $fill (i64.const 0x100000000) (i32.const 1)) (i32.const -3)) (then unreachable))
      (if (i32.ne (call $fill (i64.const -4) (i32.const 1)) (i32.const -3)) (then unreachable))
      (drop (call $fill (i64.const 8) (i32.const 2)))
      (i32.load (i64.const 12)))))";
  const auto program = load(text);
  ASSERT_TRUE(program);
  EXPECT_TRUE(program->is_memory64());
  EXPECT_EQ(start(program).outcome.get().result, 5);
}

TEST_F(SandboxTest, HostCanEndAGuest) {
  const auto outcome = run(R"((module (import "test" "end" (func $end (param i32) (result i32)))
    (func (export "handle") (result i32) (drop (call $end (i32.const 77))) (i32.const 0))))");
  EXPECT_EQ(outcome.kind, OutcomeKind::ended_by_host);
  EXPECT_EQ(outcome.end.code, 77);
  EXPECT_EQ(outcome.end.message, "the host has had enough");
}

TEST_F(SandboxTest, HostCanEndAGuestThatWaits) {
  const auto outcome = run(R"((module (import "test" "wait_then_end" (func $f (result i32)))
    (func (export "handle") (result i32) (drop (call $f)) (loop (br 0)) (i32.const 0))))");
  EXPECT_EQ(outcome.kind, OutcomeKind::ended_by_host);
  EXPECT_EQ(outcome.end.code, 9);
}

TEST_F(SandboxTest, HostExceptionEndsTheGuestAlone) {
  const auto outcome = run(R"((module (import "test" "throws" (func $f (result i32))) (func (export "handle") (result i32) (call $f))))");
  EXPECT_EQ(outcome.kind, OutcomeKind::trapped);
  EXPECT_NE(outcome.message.find("a bug in the host function"), std::string::npos);
  expect_healthy_neighbour();
}

TEST_F(SandboxTest, UnknownImportsAreNamed) {
  const auto program =
      sandbox_->load(compile(R"((module (import "test" "nothing" (func)) (import "wasi_snapshot_preview1" "path_open" (func))
    (func (export "handle") (result i32) (i32.const 0))))"),
                     {});
  ASSERT_FALSE(program);
  EXPECT_NE(program.error().message.find("test.nothing"), std::string::npos) << program.error().message;
  EXPECT_NE(program.error().message.find("path_open"), std::string::npos);
}

TEST_F(SandboxTest, ImportsOfAnotherTypeAreRefused) {
  EXPECT_FALSE(sandbox_->load(compile(R"((module (import "test" "add" (func (param i64) (result i32)))))"), {}));
  EXPECT_FALSE(sandbox_->load(compile(R"((module (import "test" "add" (memory 1))))"), {}));
}

TEST_F(SandboxTest, RequiredExportsAreNamed) {
  const std::string_view required[] = {"handle", "other"};
  const auto program = sandbox_->load(compile(R"((module (func (export "handle") (result i32) (i32.const 0))))"), required);
  ASSERT_FALSE(program);
  EXPECT_NE(program.error().message.find("other"), std::string::npos);
}

TEST_F(SandboxTest, WhatIsNotWantedIsNotCompiled) {
  const char* refused[] = {R"((module (memory 1) (memory 1)))", R"((module (memory 1 2 shared)))", R"((module (tag $t)))"};
  for (const char* text : refused) EXPECT_FALSE(sandbox_->load(compile(text), {})) << text;
  const std::vector<uint8_t> garbage = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_EQ(sandbox_->load(garbage, {}).error().code, ErrorCode::corrupt);
  auto truncated = compile(endless);
  truncated.resize(truncated.size() - 3);
  EXPECT_FALSE(sandbox_->load(truncated, {}));
}

TEST_F(SandboxTest, WasiGivesClocksAndRandomNumbersOnly) {
  EXPECT_EQ(run(R"((module (import "wasi_snapshot_preview1" "random_get" (func $r (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "handle") (result i32)
      (if (call $r (i32.const 0) (i32.const 16)) (then unreachable))
      (if (i64.eqz (i64.or (i64.load (i32.const 0)) (i64.load (i32.const 8)))) (then unreachable))
      (call $r (i32.const 65535) (i32.const 2)))))")
                .result,
            21);
  const auto exited = run(R"((module (import "wasi_snapshot_preview1" "proc_exit" (func $x (param i32)))
    (func (export "handle") (result i32) (call $x (i32.const 3)) (i32.const 0))))");
  EXPECT_EQ(exited.kind, OutcomeKind::ended_by_host);
}

TEST_F(SandboxTest, ImpossibleOptionsAreErrors) {
  for (const SandboxOptions& bad : {SandboxOptions{.instances_max = 0}, SandboxOptions{.instances_max = 100'000},
                                    SandboxOptions{.memory_bytes_max = 1}, SandboxOptions{.guest_stack_bytes_max = 1},
                                    SandboxOptions{.workers = 0}, SandboxOptions{.epoch_ms = 0}, SandboxOptions{.foreground_cpu_ms = 0}}) {
    const auto sandbox = Sandbox::create(bad, {});
    ASSERT_FALSE(sandbox);
    EXPECT_EQ(sandbox.error().code, ErrorCode::invalid_argument);
  }
}

}  // namespace
}  // namespace realm::sandbox
