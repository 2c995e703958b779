#include "runtime/program_cache.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/thread_name.h"
#include "runtime/program_check.h"

namespace realm::runtime {
namespace {

bool is_refusal(const Error& error) { return error.code == ErrorCode::corrupt || error.code == ErrorCode::unsupported; }

}  // namespace

ProgramCache::ProgramCache(sandbox::Sandbox& sandbox, const ProgramCacheOptions& options) : sandbox_(sandbox), options_(options) {
  for (uint32_t i = 0; i < std::max(options.compiles_max, 1u); ++i) threads_.push_back(start_thread("compiles", [this] { run(); }));
}

ProgramCache::~ProgramCache() {
  std::deque<std::shared_ptr<Job>> left;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    left.swap(queue_);
  }
  changed_.notify_all();
  for (const auto& job : left) {
    for (auto& caller : job->callers) caller(fail(ErrorCode::unavailable, "the server is going down"));
  }
  for (std::thread& thread : threads_) thread.join();
}

void ProgramCache::open(ProgramSource source, ProgramOpened opened) {
  Result<std::shared_ptr<const sandbox::Program>> known;
  {
    std::lock_guard lock(mutex_);
    if (const Ready* ready = find({source.realm_id, source.sha256})) {
      ++stats_.hits;
      known = ready->program;
    } else {
      auto queued = enqueue(source, opened);
      if (queued) return;
      known = fail(std::move(queued));
    }
  }
  opened(std::move(known));
}

const ProgramCache::Ready* ProgramCache::find(const Key& key) {
  const auto found = places_.find(key);
  if (found == places_.end()) return nullptr;
  const auto place = found->second;
  const int64_t age_ns = monotonic_ns() - place->since_ns;
  if (!place->program && age_ns > int64_t{options_.retry_after_refusal_ms} * 1'000'000) {
    drop(place);
    return nullptr;
  }
  ready_.splice(ready_.begin(), ready_, place);
  return &*place;
}

Result<void> ProgramCache::enqueue(ProgramSource& source, ProgramOpened& opened) {
  if (stopping_) return fail(ErrorCode::unavailable, "the server is going down");
  uint32_t of_realm = 0;
  const auto join = [&](const std::shared_ptr<Job>& job) {
    of_realm += job->source.realm_id == source.realm_id ? 1 : 0;
    if (job->source.realm_id != source.realm_id || job->source.sha256 != source.sha256) return false;
    if (job->callers.size() >= options_.callers_max) return false;
    job->callers.push_back(std::move(opened));
    return true;
  };
  if (std::any_of(running_.begin(), running_.end(), join) || std::any_of(queue_.begin(), queue_.end(), join)) return {};
  if (of_realm >= options_.waiting_of_realm_max || queue_.size() >= options_.waiting_max) {
    return fail(ErrorCode::resource_exhausted, "too many programs wait to be compiled; try again later");
  }
  auto job = std::make_shared<Job>(Job{std::move(source), {}});
  job->callers.push_back(std::move(opened));
  queue_.push_back(std::move(job));
  ++stats_.waiting;
  changed_.notify_one();
  return {};
}

// The first in line whose realm has none on a thread. Null when the cache ends.
std::shared_ptr<ProgramCache::Job> ProgramCache::next(std::unique_lock<std::mutex>& lock) {
  while (true) {
    if (stopping_) return nullptr;
    const auto found = std::find_if(queue_.begin(), queue_.end(), [this](const std::shared_ptr<Job>& job) {
      return std::none_of(running_.begin(), running_.end(),
                          [&job](const std::shared_ptr<Job>& other) { return other->source.realm_id == job->source.realm_id; });
    });
    if (found != queue_.end()) {
      auto job = *found;
      queue_.erase(found);
      running_.push_back(job);
      return job;
    }
    changed_.wait(lock);
  }
}

void ProgramCache::run() {
  while (true) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      job = next(lock);
    }
    if (!job) return;
    const int64_t began_ns = monotonic_ns();
    const ProgramSource& source = job->source;
    auto loaded = sandbox_.load_confined({.key = source.realm_id + " " + source.sha256, .read = source.read}, {});
    if (loaded) {
      if (auto valid = check_program((*loaded)->shape()); !valid) loaded = fail(std::move(valid));
    }
    finish(job, std::move(loaded), static_cast<uint64_t>(monotonic_ns() - began_ns));
  }
}

void ProgramCache::finish(const std::shared_ptr<Job>& job, Result<std::shared_ptr<const sandbox::Program>> result, uint64_t load_ns) {
  std::vector<ProgramOpened> callers;
  {
    std::lock_guard lock(mutex_);
    std::erase(running_, job);
    callers.swap(job->callers);
    --stats_.waiting;
    stats_.load_ns += load_ns;
    ++(result ? stats_.loads : is_refusal(result.error()) ? stats_.refusals : stats_.failures);
    if (result || is_refusal(result.error())) {
      keep({.key = {job->source.realm_id, job->source.sha256},
            .program = result,
            .since_ns = monotonic_ns(),
            .code_bytes = result ? (*result)->shape().code_bytes : 0});
    }
  }
  changed_.notify_all();
  for (auto& caller : callers) caller(result);
}

void ProgramCache::keep(Ready ready) {
  stats_.code_bytes += ready.code_bytes;
  stats_.programs_ready += ready.program ? 1 : 0;
  ready_.push_front(std::move(ready));
  places_[ready_.front().key] = ready_.begin();
  while (ready_.size() > 1 && (ready_.size() > options_.programs_max || stats_.code_bytes > options_.code_bytes_max)) {
    stats_.evictions += ready_.back().program ? 1 : 0;
    drop(std::prev(ready_.end()));
  }
}

void ProgramCache::drop(std::list<Ready>::iterator place) {
  stats_.code_bytes -= place->code_bytes;
  stats_.programs_ready -= place->program ? 1 : 0;
  places_.erase(place->key);
  ready_.erase(place);
}

void ProgramCache::forget(std::string_view realm_id) {
  std::lock_guard lock(mutex_);
  for (auto place = ready_.begin(); place != ready_.end();) {
    const auto one = place++;
    if (one->key.first == realm_id) drop(one);
  }
}

ProgramCacheStats ProgramCache::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace realm::runtime
