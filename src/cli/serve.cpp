// `realm server`: many customers over HTTP.
#include <sys/resource.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/engine_start.h"
#include "cli/paths.h"
#include "cli/terminal.h"
#include "cli/version.h"
#include "engine/backend.h"
#include "http/front.h"
#include "http/server.h"
#include "runtime/stored_models.h"

namespace realm::cli {
namespace {

constexpr uint64_t kv_bytes_default_max = 4ull << 30;
constexpr uint32_t instances_max = 4'096;  // live requests of all realms together

bool is_loopback(const std::string& host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

// Signals as a count: the first asks for a drain, the second for an end.
class Signals {
 public:
  explicit Signals(Interrupts& interrupts) : interrupts_(interrupts) {
    interrupts_.on_interrupt([this] {
      std::lock_guard lock(mutex_);
      ++count_;
      changed_.notify_all();
    });
  }
  ~Signals() { interrupts_.on_interrupt(nullptr); }
  // False when `stop` came first.
  bool wait_for(int count, const bool& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return count_ >= count || stop; });
    return count_ >= count;
  }
  void wake(bool& stop) {
    std::lock_guard lock(mutex_);
    stop = true;
    changed_.notify_all();
  }

 private:
  Interrupts& interrupts_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;  // guarded
};

// Connections and models need more descriptors than shells give.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

uint64_t memory_budget(const ServerSettings& settings) {
  return settings.memory_mib_budget > 0 ? settings.memory_mib_budget << 20 : models::default_budget_bytes();
}

uint64_t kv_bytes(const ServerSettings& settings) {
  return settings.kv_mib_max > 0 ? settings.kv_mib_max << 20 : std::min(memory_budget(settings) / 4, kv_bytes_default_max);
}

// What is published: the folders of --models, what was pulled, and the model of --model. Without --models and --model, the bundled one.
Result<std::unique_ptr<models::Catalogue>> open_catalogue(const RunOptions& options, const ServerSettings& settings,
                                                          const std::filesystem::path& data) {
  models::CatalogueOptions catalogue{.folder = data / "models", .folders = {}, .files = {}, .checker = "/proc/self/exe"};
  catalogue.folders.assign(settings.model_folders.begin(), settings.model_folders.end());
  if (!options.model.empty() || settings.model_folders.empty()) {
    auto file = find_model(options.model);
    // Pulled models are enough when none was asked for.
    if (!file && !options.model.empty()) return fail(std::move(file));
    if (file) catalogue.files.push_back(*file);
  }
  return models::Catalogue::open(catalogue);
}

runtime::RuntimeOptions server_runtime(const RunOptions& options, const ServerSettings& settings, std::filesystem::path program) {
  runtime::RuntimeOptions runtime = runtime_options(options, std::move(program));
  runtime.realms_max = settings.realms_max * 2 + 16;  // two revisions of a realm may be open side by side
  runtime.sandbox.instances_max = instances_max;
  if (settings.workers > 0) runtime.sandbox.workers = settings.workers;
  runtime.scheduler.sequences_max = settings.sequences_max;
  runtime.scheduler.inter_token_target_ms = settings.inter_token_target_ms;
  runtime.scheduler.kv_bytes_max = kv_bytes(settings);
  runtime.scheduler.saved_bytes_max = settings.saved_kv_mib_max << 20;
  return runtime;
}

http::FrontOptions front_options(const ServerSettings& settings, bool loopback_only) {
  http::FrontOptions front;
  front.gate = {.loopback_only = loopback_only,
                .anonymous = settings.anonymous,
                .body_bytes_max = settings.limits.body_bytes_max,
                .uploads_max = settings.limits.uploads_max,
                .uploads_of_realm_max = settings.limits.uploads_of_realm_max,
                .admin_hosts = settings.admin_hosts};
  front.realms_resident_max = settings.realms_max;
  front.cors_origins = settings.cors_origins;
  front.realm_defaults.request_bytes_max = settings.limits.body_bytes_max;
  front.realm_defaults.queue_deadline_ms = settings.queue_deadline_ms;
  front.version = version;
  return front;
}

http::ServerOptions server_options(const ServerSettings& settings, const std::filesystem::path& data) {
  return {.hosts = settings.hosts,
          .port = static_cast<uint16_t>(settings.port),
          .local_socket = admin_socket(data),
          .tls_certificate = settings.tls_certificate,
          .tls_key = settings.tls_key,
          .limits = settings.limits};
}

std::string address(const ServerSettings& settings, uint16_t port) {
  const std::string& host = settings.hosts.front();
  const bool is_v6 = host.find(':') != std::string::npos;
  return (settings.tls_certificate.empty() ? "http://" : "https://") + (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

// From the first signal on: no new connections, running answers end, a second signal cuts it short.
void run_until_signal(http::Server& server, http::Front& front, Signals& signals) {
  const bool never = false;
  signals.wait_for(1, never);
  std::fprintf(stderr, "realm: draining; a second signal ends at once\n");
  front.drain();
  bool drained = false;
  std::thread second([&] {
    if (signals.wait_for(2, drained)) server.stop_now();
  });
  server.drain();
  signals.wake(drained);
  second.join();
}

}  // namespace

int run_server(const RunOptions& options, const ServerSettings& settings, Interrupts& interrupts) {
  if (std::getenv("REALM_LOG") == nullptr) log().set_level(spdlog::level::info);
  raise_descriptor_limit();
  const bool loopback_only = std::all_of(settings.hosts.begin(), settings.hosts.end(), is_loopback);
  const std::filesystem::path data = settings.data.empty() ? data_folder() : std::filesystem::path(settings.data);
  auto tenants = tenants::Tenants::open({.folder = data});
  if (!tenants) return report(tenants.error());
  if (!loopback_only && !settings.anonymous && !(*tenants)->had_realms()) {
    return report({ErrorCode::permission_denied,
                   "a server that other machines can reach needs keys: make some with `realm realms create NAME` and `realm keys create "
                   "NAME`, or give --anonymous"});
  }
  auto program = find_program(options.program);
  if (!program) return report(program.error());
  if (auto chosen = choose_kernels(options); !chosen) return report(chosen.error());
  auto runtime = runtime::Runtime::create(server_runtime(options, settings, *program));
  if (!runtime) return report(runtime.error());
  auto backend = engine::parse_backend(options.backend);
  if (!backend) return report(backend.error());
  if (auto there = engine::require_backend(*backend); !there) return report(there.error());
  auto catalogue = open_catalogue(options, settings, data);
  if (!catalogue) return report(catalogue.error());
  models::PublishedPrefixes prefixes(data / "prefixes");
  runtime::StoredModels models(**runtime, **catalogue,
                               {.store = {.budget_bytes = memory_budget(settings), .lease_deadline_ms = settings.model_deadline_ms},
                                .backend = *backend,
                                .kv_bytes_max = kv_bytes(settings),
                                .prefixes = &prefixes});
  http::Front front(front_options(settings, loopback_only), settings.limits, **runtime, **tenants, **catalogue, models.store(), prefixes);
  Signals signals(interrupts);
  auto server = http::Server::start(server_options(settings, data), front);
  if (!server) return report(server.error());
  const std::string place = address(settings, (*server)->port());
  std::fprintf(stderr, "realm: listening on %s (data in %s)\n", place.c_str(), data.c_str());
  log_fields(spdlog::level::info, "listening", {{"address", place}, {"version", version}});
  run_until_signal(**server, front, signals);
  return 0;
}

}  // namespace realm::cli
