#include "bench.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace realm::bench {

runtime::EmitResult Collector::on_text(std::string_view piece) {
  text += piece;
  return runtime::EmitResult::accepted;
}

runtime::EmitResult Collector::on_summary(std::string_view) { return runtime::EmitResult::accepted; }

void Collector::on_end(Result<void> result, const runtime::GenerationStats& final_stats) {
  std::lock_guard lock(mutex_);
  if (!result) error = result.error().message;
  stats = final_stats;
  ended_ = true;
  changed_.notify_all();
}

void Collector::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return ended_; });
}

namespace {
template <class T>
T must(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "realm-bench: %s\n", result.error().message.c_str());
  std::exit(1);
}
}  // namespace

std::unique_ptr<runtime::Runtime> make_runtime(const Setup& setup, uint32_t sequences, uint32_t context_tokens, bool with_model) {
  runtime::RuntimeOptions options;
  options.program = setup.program;
  options.compute_threads = setup.threads;
  options.sandbox.instances_max = 1'200;
  options.sandbox.workers = std::clamp(std::thread::hardware_concurrency(), 1u, 4u);
  options.scheduler.sequences_max = sequences;
  options.scheduler.context_tokens_max = context_tokens;
  auto runtime = must(runtime::Runtime::create(options));
  if (with_model) {
    if (auto loaded = runtime->load_model({.file = setup.model}); !loaded) must<int>(fail(std::move(loaded)));
  }
  return runtime;
}

runtime::RealmHandle make_realm(runtime::Runtime& runtime, const std::string& id, bool keep_prefixes) {
  runtime::RealmLimits limits;
  limits.keep_prefixes = keep_prefixes;
  return must(runtime.create_realm(id, limits));
}

std::string request(boost::json::object fields) { return boost::json::serialize(fields); }

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(share * static_cast<double>(values.size())))];
}

double median(std::vector<double> values) { return percentile(std::move(values), 0.5); }

}  // namespace realm::bench
