// Where sandbox and engine meet: many realms at once, each request in a sandbox of its own, all tokens in one batch.
//
// This is the one way in for the command line, the server and the in-process SDKs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/model.h"
#include "engine/scheduler.h"
#include "runtime/allowance.h"
#include "runtime/durable_store.h"
#include "runtime/model_source.h"
#include "runtime/program_cache.h"
#include "sandbox/sandbox.h"

namespace realm::runtime {

class Generation;
class Runtime;
struct RealmState;

struct RuntimeOptions {
  sandbox::SandboxOptions sandbox;
  engine::SchedulerOptions scheduler;  // for each model loaded
  uint32_t compute_threads = 0;        // 0: physical cores
  uint32_t realms_max = 10'000;
  std::filesystem::path program;  // realm.wasm
  ProgramCacheOptions programs;   // that realms uploaded
};

struct RealmLimits {
  double weight = 1;  // share of the device against other realms; 0.001 to 1,000
  uint32_t concurrent_requests_max = 64;
  uint32_t kv_tokens_max = 0;  // of all its live sequences together; 0: what the model's cache has
  uint32_t handles_max = 256;  // models and sequences that one instance may hold open
  uint64_t request_bytes_max = 4ull << 20;
  uint64_t emitted_bytes_max = 64ull << 20;      // of one request
  uint32_t queue_deadline_ms = 60'000;           // waiting for admission to the batch
  std::string tenant_id = {};                    // whom models are published to; empty: those for everybody
  std::vector<std::string> models_allowed = {};  // by name; empty: all that the tenant may see
  uint32_t saved_sequences_max = 64;             // under names, for each model
  uint64_t saved_tokens_max = 65'536;            // of those together
  uint64_t store_bytes_max = 0;                  // of what its programs keep; 0: nothing
  bool keep_prefixes = true;                     // later requests of this realm reuse KV of earlier ones
  sandbox::InstanceLimits instance;
};

// How far a request came, counted by the host.
struct GenerationStats {
  std::string model;  // the one opened last
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;
  uint32_t completion_tokens = 0;
  uint32_t discarded_tokens = 0;        // computed ahead, then rejected
  uint64_t time_to_first_token_ns = 0;  // from generate() to the first token taken; 0: none was
  uint64_t queue_ns = 0;
  uint64_t prefill_ns = 0;
  uint64_t decode_ns = 0;
  uint64_t wall_ns = 0;
  uint64_t kv_token_ms = 0;  // KV tokens reserved, times how long
  uint64_t guest_cpu_ns = 0;
  uint64_t tokenizer_cpu_ns = 0;  // of that, of the host's tokenizer
  uint64_t guest_memory_bytes = 0;
  uint64_t instance_start_ns = 0;  // generate() to the guest's first host call
  uint64_t instantiate_ns = 0;     // of that, making the instance alone
};

enum class EmitResult {
  accepted,
  full,  // nothing was taken: the instance is suspended until Generation::resume()
  gone,  // nobody listens any more: the program is told REALM_CANCELLED
};

enum class Content : uint8_t { json = 1, events, text, bytes };  // enum realm_content

// What a client asked for. The runtime reads none of it.
struct Request {
  std::string body;
  std::string route = {};                                // "POST /v1/chat/completions"; empty: the native request of docs/programs.md
  std::string id = {};                                   // 1 to 128 characters of [A-Za-z0-9._-]; may be empty without a route
  std::string entry = "handle";                          // the exported function to run, `() -> i32`
  std::shared_ptr<const sandbox::Program> program = {};  // of open_program(); null: RuntimeOptions::program
  std::optional<Allowance> allowance = {};               // of the program's manifest, when it has one
};

// What a request does, from the host's view. Called on worker threads, one call at a time for one request.
class GenerationListener {
 public:
  virtual ~GenerationListener() = default;
  virtual EmitResult on_text(std::string_view utf8) = 0;
  virtual EmitResult on_summary(std::string_view json) = 0;
  // Of a request with a route: first the head, once, then pieces of the body or whole events. Who listens to native requests only
  // need not override them: the program is told that nobody listens.
  virtual void on_head(uint16_t, Content) {}
  virtual EmitResult on_body(std::string_view) { return EmitResult::gone; }
  virtual EmitResult on_event(std::string_view, std::string_view) { return EmitResult::gone; }  // name, data
  // Exactly once, last. The error is the program's `fail`, a limit, a cancellation or a fault of the host.
  virtual void on_end(Result<void> result, const GenerationStats& stats) = 0;
};

// A tenant as the runtime sees it; open until close_realm. Copyable, any thread.
class RealmHandle {
 public:
  RealmHandle() = default;
  const std::string& id() const;
  explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  friend class Runtime;
  explicit RealmHandle(std::shared_ptr<RealmState> state) : state_(std::move(state)) {}
  std::shared_ptr<RealmState> state_;
};

// One live request. Any thread. Dropping it does not end the request.
class GenerationHandle {
 public:
  GenerationHandle() = default;
  void cancel() const;  // the sequence leaves the batch within one step
  void resume() const;  // room again after EmitResult::full
  explicit operator bool() const noexcept { return generation_ != nullptr; }

 private:
  friend class Runtime;
  explicit GenerationHandle(std::shared_ptr<Generation> generation) : generation_(std::move(generation)) {}
  std::shared_ptr<Generation> generation_;
};

struct LoadedModelInfo {
  engine::ModelInfo model;
  engine::SchedulerStats scheduler;
};

// What an open realm does just now.
struct RealmActivity {
  std::string id;
  std::string tenant_id;  // of its limits
  uint32_t requests_running = 0;
  uint32_t sequences_active = 0;   // in a batch
  uint32_t sequences_waiting = 0;  // for a place in one
  uint64_t kv_tokens_reserved = 0;
  uint64_t prompt_tokens = 0;      // since it was opened, as they are appended
  uint64_t generation_tokens = 0;  // since it was opened, as programs take them
};

class Runtime {
 public:
  // Loads and checks the program. No model yet.
  static Result<std::unique_ptr<Runtime>> create(const RuntimeOptions& options);
  ~Runtime();  // cancels every request and waits for it
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Loads a model and starts its scheduler; the first one becomes the default. Blocks while loading. Any thread.
  Result<void> load_model(const engine::ModelOptions& options);

  // The same, but under no name: for a ModelSource to hand out. It stays while the pointer lives. Blocks while loading. Any thread.
  Result<std::shared_ptr<LoadedModel>> load_unnamed_model(const engine::ModelOptions& options);
  // What the operator publishes for a model, when it is loaded: beginnings of prompts, from whose KV requests of every realm start. In
  // place of those before. They are computed beside what runs. Any thread.
  void publish_prefixes(std::string_view model, const std::vector<std::string>& texts);
  // Asked for every name that load_model did not bring. Before the first request; outlives the runtime.
  void set_model_source(ModelSource& source);
  // Where programs keep values. Before the first request; outlives the runtime's requests. Without one there is no store.
  void set_store(DurableStore& store);

  // `id`: 1 to 128 characters of [A-Za-z0-9._-], unique among open realms. Any thread.
  Result<RealmHandle> create_realm(std::string id, const RealmLimits& limits);
  void close_realm(RealmHandle realm);  // cancels its requests, forgets its cached prefixes

  // Brings a program that a realm uploaded. As ProgramCache::open.
  void open_program(ProgramSource source, ProgramOpened opened);
  void forget_programs(std::string_view realm_id);
  ProgramCacheStats program_stats() const;

  // Runs the program on one request. The listener must live until on_end has returned. Any thread.
  // Fails at once for a full sandbox, a request over the realm's limits, a closed realm.
  Result<GenerationHandle> generate(const RealmHandle& realm, Request request, GenerationListener& listener);

  std::vector<LoadedModelInfo> models() const;
  sandbox::SandboxStats sandbox_stats() const;
  uint32_t realms_open() const;
  std::vector<RealmActivity> realm_activity() const;

 private:
  struct Impl;
  explicit Runtime(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace realm::runtime
