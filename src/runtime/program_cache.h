// Uploaded programs that are ready to run: compiled on first use, once for everybody who waits, least recently used ones go.
//
// A program belongs to a realm, and so does its code: two realms with the same module have one each, so that none can tell from how long
// an upload takes what another one has. A few threads compile, one program of a realm at a time.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/result.h"
#include "sandbox/sandbox.h"

namespace realm::runtime {

struct ProgramCacheOptions {
  uint32_t compiles_max = 2;                 // children at once
  uint32_t waiting_max = 64;                 // programs that wait for one
  uint32_t waiting_of_realm_max = 4;         // of those, of one realm
  uint32_t callers_max = 1'024;              // requests that wait for one program
  uint32_t programs_max = 256;               // ready ones
  uint64_t code_bytes_max = 1ull << 30;      // of them together
  uint32_t retry_after_refusal_ms = 10'000;  // a module that was refused is not tried again before
};

// An uploaded module.
struct ProgramSource {
  std::string realm_id;
  std::string sha256;
  std::function<Result<std::string>()> read;  // its bytes; called when its code is not in the cache, on a thread of the cache
};

using ProgramOpened = std::function<void(Result<std::shared_ptr<const sandbox::Program>>)>;

struct ProgramCacheStats {
  uint32_t programs_ready = 0;
  uint64_t code_bytes = 0;
  uint32_t waiting = 0;  // for the threads, or on them
  uint64_t hits = 0;
  uint64_t loads = 0;     // that brought a program
  uint64_t refusals = 0;  // modules that were no programs
  uint64_t failures = 0;  // of this machine
  uint64_t evictions = 0;
  uint64_t load_ns = 0;
};

class ProgramCache {
 public:
  // `sandbox` outlives it.
  ProgramCache(sandbox::Sandbox& sandbox, const ProgramCacheOptions& options);
  ~ProgramCache();  // whoever waits is told unavailable; waits for what is being compiled
  ProgramCache(const ProgramCache&) = delete;
  ProgramCache& operator=(const ProgramCache&) = delete;

  // Calls `opened` exactly once: before it returns, or on a thread of the cache. corrupt and unsupported: the module's fault;
  // resource_exhausted: too many wait already. Any thread.
  void open(ProgramSource source, ProgramOpened opened);
  void forget(std::string_view realm_id);  // the realm is gone. Any thread
  ProgramCacheStats stats() const;

 private:
  using Key = std::pair<std::string, std::string>;  // realm, SHA-256
  struct Ready {
    Key key;
    Result<std::shared_ptr<const sandbox::Program>> program;  // or why it was refused
    int64_t since_ns = 0;
    uint64_t code_bytes = 0;
  };
  struct Job {
    ProgramSource source;
    std::vector<ProgramOpened> callers;
  };

  void run();
  std::shared_ptr<Job> next(std::unique_lock<std::mutex>& lock);
  void finish(const std::shared_ptr<Job>& job, Result<std::shared_ptr<const sandbox::Program>> result, uint64_t load_ns);
  const Ready* find(const Key& key);  // likewise below: with mutex_ held
  void keep(Ready ready);
  void drop(std::list<Ready>::iterator place);
  Result<void> enqueue(ProgramSource& source, ProgramOpened& opened);

  sandbox::Sandbox& sandbox_;
  const ProgramCacheOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Ready> ready_;  // guarded, likewise below; most recently used first
  std::map<Key, std::list<Ready>::iterator> places_;
  std::deque<std::shared_ptr<Job>> queue_;
  std::vector<std::shared_ptr<Job>> running_;
  ProgramCacheStats stats_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace realm::runtime
