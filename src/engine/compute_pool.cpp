#include "engine/compute_pool.h"

#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>
#include <llama.h>

#include <pthread.h>

#include <atomic>
#include <string>
#include <vector>

#include "base/background.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/thread_name.h"
#include "engine/backend.h"
#include "engine/cpu_function.h"
#include "engine/physical_cores.h"

namespace realm::engine {
namespace {

constexpr uint32_t threads_max = GGML_MAX_N_THREADS;

// How long an idle thread spins before it sleeps, in ggml's unit (131,072 turns of its waiting loop, some milliseconds). It has to
// cover the gap between two steps, and should not burn a core for longer: others on the machine want it.
constexpr uint32_t poll_level = 1;

// What work of low priority gets of a processor that computes all the time. It comes in short pauses of all threads at once, so that
// every step takes a little longer: were it left to the kernel, some steps would take a time slice longer.
constexpr double background_share = 0.17;
constexpr int64_t pause_ns_min = 500'000;  // to fall asleep and to be woken takes some 0.1 ms of it

}  // namespace

// A graph of one custom operation that every thread of the pool takes part in.
struct ComputePool::Impl {
  ggml_threadpool* threads = nullptr;
  ggml_backend_t backend = nullptr;
  ggml_context* graph_memory = nullptr;
  ggml_cgraph* graph = nullptr;

  std::vector<cpu_set_t> cores;  // one for each thread; empty: they are not bound
  bool binding = false;
  bool fills_machine = false;  // with a thread for every core

  const std::function<void(uint32_t)>* task = nullptr;
  alignas(64) std::atomic<int64_t> left{0};  // tasks that nobody has taken; below zero when the threads have seen that

  ~Impl() {
    if (graph_memory != nullptr) ggml_free(graph_memory);
    if (backend != nullptr) ggml_backend_free(backend);
    if (threads != nullptr) cpu_function<decltype(ggml_threadpool_free)>("ggml_threadpool_free")(threads);
  }

  bool start(uint32_t thread_count) {
    auto* threadpool_new = cpu_function<decltype(ggml_threadpool_new)>("ggml_threadpool_new");
    auto* set_threadpool = cpu_function<decltype(ggml_backend_cpu_set_threadpool)>("ggml_backend_cpu_set_threadpool");
    auto* set_n_threads = cpu_function<decltype(ggml_backend_cpu_set_n_threads)>("ggml_backend_set_n_threads");
    if (threadpool_new == nullptr || set_threadpool == nullptr || set_n_threads == nullptr) return false;

    ggml_threadpool_params params = ggml_threadpool_params_default(static_cast<int>(thread_count));
    params.poll = poll_level;
    {
      const NamedThreads named("compute");
      threads = threadpool_new(&params);
    }
    backend = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr);
    if (threads == nullptr || backend == nullptr) return false;
    set_threadpool(backend, threads);
    set_n_threads(backend, static_cast<int>(thread_count));
    if (!build_graph()) return false;
    bind(thread_count);
    return true;
  }

  bool build_graph() {
    const size_t bytes = 4 * ggml_tensor_overhead() + ggml_graph_overhead_custom(1, false) + 1024;
    graph_memory = ggml_init({.mem_size = bytes, .mem_buffer = nullptr, .no_alloc = false});
    if (graph_memory == nullptr) return false;
    graph = ggml_new_graph_custom(graph_memory, 1, false);
    ggml_tensor* nothing = ggml_new_tensor_1d(graph_memory, GGML_TYPE_F32, 1);
    ggml_tensor* node = ggml_custom_4d(graph_memory, GGML_TYPE_F32, 1, 1, 1, 1, &nothing, 1, &Impl::take_tasks, GGML_N_TASKS_MAX, this);
    ggml_build_forward_expand(graph, node);
    return true;
  }

  // With as many threads as cores, each has one of its own. Otherwise a customer's program that computes may drive two of them together
  // on one core, where each waits at every operation for the other's time slice to end, for hundreds of milliseconds.
  void bind(uint32_t thread_count) {
    cores = engine::cores();
    fills_machine = thread_count >= cores.size();
    if (cores.size() < 2 || cores.size() != thread_count) return cores.clear();
    binding = true;
    REALM_CHECK(ggml_backend_graph_compute(backend, graph) == GGML_STATUS_SUCCESS);
    binding = false;
  }

  void bind_this_thread(size_t index) const noexcept {
    if (index < cores.size()) pthread_setaffinity_np(pthread_self(), sizeof(cpu_set_t), &cores[index]);
  }

  // On every thread of the pool at once. `left` orders the task before its calls, and the calls before run()'s return.
  static void take_tasks(ggml_tensor*, int thread, int, void* self) noexcept {
    auto& impl = *static_cast<Impl*>(self);
    if (impl.binding && thread > 0) impl.bind_this_thread(static_cast<size_t>(thread));  // 0 is whoever calls
    for (int64_t left; (left = impl.left.fetch_sub(1, std::memory_order_acq_rel)) > 0;) {
      (*impl.task)(static_cast<uint32_t>(left - 1));
    }
  }
};

ComputePool::ComputePool(uint32_t threads) : threads_(threads), impl_(std::make_unique<Impl>()) {}
ComputePool::~ComputePool() = default;

Result<std::shared_ptr<ComputePool>> ComputePool::create(uint32_t threads) {
  if (threads > threads_max) {
    return fail(ErrorCode::invalid_argument, "threads " + std::to_string(threads) + " is above " + std::to_string(threads_max));
  }
  start_backends();
  std::shared_ptr<ComputePool> pool(new ComputePool(threads == 0 ? std::min(physical_cores(), threads_max) : threads));
  if (!pool->impl_->start(pool->threads_)) {
    return fail(ErrorCode::resource_exhausted,
                "cannot start " + std::to_string(pool->threads_) + " compute threads: " + take_last_native_error());
  }
  return pool;
}

void ComputePool::bind_caller() const noexcept { impl_->bind_this_thread(0); }

void ComputePool::attach(llama_context* context) const {
  llama_attach_threadpool(context, impl_->threads, impl_->threads);
  llama_set_n_threads(context, static_cast<int32_t>(threads_), static_cast<int32_t>(threads_));
}

void ComputePool::run(uint32_t count, const std::function<void(uint32_t)>& task) {
  if (threads_ == 1 || count <= 1) {
    for (uint32_t i = 0; i < count; ++i) task(i);
    return;
  }
  impl_->task = &task;
  impl_->left.store(count, std::memory_order_release);
  REALM_CHECK(ggml_backend_graph_compute(impl_->backend, impl_->graph) == GGML_STATUS_SUCCESS);
  REALM_CHECK(impl_->left.load(std::memory_order_acquire) <= 0);
}

int64_t ComputePool::give_way(int64_t computed_ns) {
  if (!impl_->fills_machine || BackgroundWork::count() == 0) return 0;
  const auto turn = acquire();
  owed_ns_ += static_cast<int64_t>(static_cast<double>(computed_ns) * background_share);
  if (owed_ns_ < pause_ns_min) return 0;
  const int64_t began_ns = monotonic_ns();
  const int64_t end_ns = began_ns + owed_ns_;
  const timespec end{.tv_sec = end_ns / 1'000'000'000, .tv_nsec = end_ns % 1'000'000'000};
  run(threads_, [&end](uint32_t) { clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr); });
  const int64_t away_ns = monotonic_ns() - began_ns;
  owed_ns_ -= away_ns;
  return away_ns;
}

}  // namespace realm::engine
