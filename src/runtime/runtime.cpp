#include "runtime/runtime.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <map>

#include "runtime/generation.h"
#include "runtime/loaded_model.h"
#include "runtime/program_check.h"
#include "runtime/realm_state.h"

namespace realm::runtime {
namespace {

constexpr uint64_t program_bytes_max = 16u << 20;

Result<std::vector<uint8_t>> read_program(const std::filesystem::path& file) {
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  if (error) return fail(ErrorCode::not_found, "program " + file.string() + ": " + error.message() + "; give its place with --program");
  if (size > program_bytes_max) {
    return fail(ErrorCode::corrupt, "program " + file.string() + ": larger than " + std::to_string(program_bytes_max >> 20) + " MiB");
  }
  std::vector<uint8_t> bytes(size);
  std::ifstream in(file, std::ios::binary);
  if (!in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size))) {
    return fail(ErrorCode::io, "program " + file.string() + ": cannot be read");
  }
  return bytes;
}

Result<void> check_realm(const std::string& id, const RealmLimits& limits) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-'; };
  if (id.empty() || id.size() > 128 || !std::all_of(id.begin(), id.end(), allowed)) {
    return fail(ErrorCode::invalid_argument, "realm id: 1 to 128 letters, digits, '.', '_' or '-'");
  }
  if (!(limits.weight >= 0.001 && limits.weight <= 1'000)) {
    return fail(ErrorCode::invalid_argument, "realm " + id + ": weight must be 0.001 to 1000");
  }
  if (limits.instance.cpu_ms_max == 0 || limits.instance.wall_ms_max == 0) {
    return fail(ErrorCode::invalid_argument, "realm " + id + ": cpu_ms_max and wall_ms_max must be at least 1");
  }
  return {};
}

void set_weight(const LoadedModel& loaded, const RealmState& realm) {
  if (realm.limits.weight != 1) loaded.scheduler->set_flow_weight(realm.flow, realm.limits.weight);
}

}  // namespace

struct Runtime::Impl : ModelLookup {
  RuntimeOptions options;
  std::shared_ptr<engine::ComputePool> pool;

  mutable std::mutex mutex;
  std::map<std::string, std::shared_ptr<LoadedModel>, std::less<>> models;  // guarded
  std::string default_model;                                                // guarded
  std::vector<std::weak_ptr<LoadedModel>> loaded_models;                    // guarded; those of the source too
  std::map<std::string, std::shared_ptr<RealmState>, std::less<>> realms;   // guarded
  engine::FlowId last_flow = 0;                                             // guarded
  ModelSource* source = nullptr;
  DurableStore* store = nullptr;

  std::unique_ptr<sandbox::Sandbox> sandbox;
  std::shared_ptr<const sandbox::Program> program;
  std::unique_ptr<ProgramCache> programs;

  void open_model(std::string_view name, const RealmState& realm, ModelOpened opened) override {
    const auto& allowed = realm.limits.models_allowed;
    std::shared_ptr<LoadedModel> loaded;
    {
      std::lock_guard lock(mutex);
      if (const auto found = models.find(name.empty() ? std::string_view(default_model) : name); found != models.end()) {
        loaded = found->second;
      }
    }
    const std::string_view wanted = loaded ? std::string_view(loaded->model->info().name) : name;
    // A realm that may use one model alone has that one as its default.
    const std::string_view chosen = wanted.empty() && !allowed.empty() ? std::string_view(allowed.front()) : wanted;
    if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), chosen) == allowed.end()) {
      loaded.reset();
    } else if (!loaded && source != nullptr) {
      source->open(chosen, realm.limits.tenant_id, std::move(opened));
      return;
    }
    if (loaded) return opened(std::move(loaded));
    opened(fail(ErrorCode::not_found, "model " + std::string(name) + " is not here"));
  }

  // Loads the model and starts its scheduler, which then knows every open realm.
  Result<std::shared_ptr<LoadedModel>> load(const engine::ModelOptions& model_options) {
    auto model = engine::Model::load(model_options);
    if (!model) return fail(std::move(model));
    auto scheduler = engine::Scheduler::create(*model, pool, options.scheduler);
    if (!scheduler) return fail(std::move(scheduler));
    auto loaded = std::make_shared<LoadedModel>(std::move(*model), std::move(*scheduler));
    loaded->publisher = std::make_unique<PrefixPublisher>(*loaded->scheduler);
    std::lock_guard lock(mutex);
    std::erase_if(loaded_models, [](const std::weak_ptr<LoadedModel>& one) { return one.expired(); });
    loaded_models.push_back(loaded);
    for (const auto& [id, realm] : realms) set_weight(*loaded, *realm);
    return loaded;
  }

  // Call with `mutex` held.
  template <class Visit>
  void for_each_loaded(Visit visit) const {
    for (const auto& weak : loaded_models) {
      if (const auto loaded = weak.lock()) visit(*loaded);
    }
  }

  void close(RealmState& realm) {
    std::vector<std::shared_ptr<Generation>> live;
    {
      std::lock_guard lock(realm.mutex);
      realm.closed = true;
      for (const auto& [key, generation] : realm.live) {
        if (auto alive = generation.lock()) live.push_back(std::move(alive));
      }
    }
    for (const auto& generation : live) generation->cancel();
    std::lock_guard lock(mutex);
    realms.erase(realm.id);
    for_each_loaded([&realm](LoadedModel& loaded) {
      loaded.named.forget(realm.flow);
      loaded.scheduler->forget_flow(realm.flow);
    });
  }
};

Runtime::Runtime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Runtime::~Runtime() {
  std::vector<std::shared_ptr<RealmState>> open;
  {
    std::lock_guard lock(impl_->mutex);
    for (const auto& [id, realm] : impl_->realms) open.push_back(realm);
  }
  for (const auto& realm : open) impl_->close(*realm);
  impl_->programs.reset();
  impl_->sandbox.reset();  // waits for every instance, so nothing calls into a scheduler any more
}

Result<std::unique_ptr<Runtime>> Runtime::create(const RuntimeOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  engine::start_backends();
  auto bytes = read_program(options.program);
  if (!bytes) return fail(std::move(bytes));
  auto pool = engine::ComputePool::create(options.compute_threads);
  if (!pool) return fail(std::move(pool));
  impl->pool = std::move(*pool);
  auto sandbox = sandbox::Sandbox::create(options.sandbox, program_abi_functions());
  if (!sandbox) return fail(std::move(sandbox));
  impl->sandbox = std::move(*sandbox);
  auto program = impl->sandbox->load(*bytes, {});
  if (!program) return fail(program.error().code, "program " + options.program.string() + ": " + program.error().message);
  if (auto valid = check_program((*program)->shape()); !valid) {
    return fail(valid.error().code, "program " + options.program.string() + ": " + valid.error().message);
  }
  impl->program = std::move(*program);
  impl->programs = std::make_unique<ProgramCache>(*impl->sandbox, options.programs);
  return std::unique_ptr<Runtime>(new Runtime(std::move(impl)));
}

Result<void> Runtime::load_model(const engine::ModelOptions& options) {
  auto loaded = impl_->load(options);
  if (!loaded) return fail(std::move(loaded));
  const std::string name = (*loaded)->model->info().name;
  std::lock_guard lock(impl_->mutex);
  if (!impl_->models.emplace(name, std::move(*loaded)).second)
    return fail(ErrorCode::already_exists, "model " + name + " is loaded already");
  if (impl_->default_model.empty()) impl_->default_model = name;
  return {};
}

Result<std::shared_ptr<LoadedModel>> Runtime::load_unnamed_model(const engine::ModelOptions& options) { return impl_->load(options); }

void Runtime::publish_prefixes(std::string_view model, const std::vector<std::string>& texts) {
  std::lock_guard lock(impl_->mutex);
  impl_->for_each_loaded([&](const LoadedModel& loaded) {
    if (loaded.model->info().name == model) loaded.publisher->set(texts);
  });
}

void Runtime::set_model_source(ModelSource& source) { impl_->source = &source; }

void Runtime::set_store(DurableStore& store) { impl_->store = &store; }

const std::string& RealmHandle::id() const { return state_->id; }

Result<RealmHandle> Runtime::create_realm(std::string id, const RealmLimits& limits) {
  if (auto valid = check_realm(id, limits); !valid) return fail(std::move(valid));
  std::lock_guard lock(impl_->mutex);
  if (impl_->realms.size() >= impl_->options.realms_max) {
    return fail(ErrorCode::resource_exhausted, "realms_max: " + std::to_string(impl_->options.realms_max) + " realms are open");
  }
  const auto [place, inserted] = impl_->realms.try_emplace(id);
  if (!inserted) return fail(ErrorCode::already_exists, "realm " + id + " is open already");
  auto state = std::make_shared<RealmState>();
  state->id = std::move(id);
  state->limits = limits;
  state->flow = ++impl_->last_flow;
  place->second = state;
  impl_->for_each_loaded([&state](const LoadedModel& loaded) { set_weight(loaded, *state); });
  return RealmHandle(std::move(state));
}

void Runtime::close_realm(RealmHandle realm) {
  if (realm) impl_->close(*realm.state_);
}

Result<GenerationHandle> Runtime::generate(const RealmHandle& realm, Request request, GenerationListener& listener) {
  if (!realm) return fail(ErrorCode::invalid_argument, "no realm given");
  if (request.body.size() > realm.state_->limits.request_bytes_max) {
    return fail(ErrorCode::invalid_argument, "the request has " + std::to_string(request.body.size()) + " bytes, realm " + realm.id() +
                                                 " may send " + std::to_string(realm.state_->limits.request_bytes_max));
  }
  auto program = request.program ? request.program : impl_->program;
  auto generation =
      std::make_shared<Generation>(realm.state_, std::move(request), listener, *impl_, impl_->store, *impl_->sandbox, std::move(program));
  if (auto started = generation->start(); !started) return fail(std::move(started));
  return GenerationHandle(std::move(generation));
}

void Runtime::open_program(ProgramSource source, ProgramOpened opened) { impl_->programs->open(std::move(source), std::move(opened)); }

void Runtime::forget_programs(std::string_view realm_id) { impl_->programs->forget(realm_id); }

ProgramCacheStats Runtime::program_stats() const { return impl_->programs->stats(); }

void GenerationHandle::cancel() const {
  if (generation_) generation_->cancel();
}

void GenerationHandle::resume() const {
  if (generation_) generation_->resume();
}

std::vector<LoadedModelInfo> Runtime::models() const {
  std::lock_guard lock(impl_->mutex);
  std::vector<LoadedModelInfo> infos;
  impl_->for_each_loaded([&infos](const LoadedModel& loaded) { infos.push_back({loaded.model->info(), loaded.scheduler->stats()}); });
  return infos;
}

std::vector<RealmActivity> Runtime::realm_activity() const {
  std::lock_guard lock(impl_->mutex);
  std::unordered_map<engine::FlowId, engine::FlowStats> flows;
  impl_->for_each_loaded([&flows](const LoadedModel& loaded) {
    for (const engine::FlowStats& flow : loaded.scheduler->flow_stats()) {
      engine::FlowStats& sum = flows[flow.flow];
      sum.sequences_active += flow.sequences_active;
      sum.sequences_waiting += flow.sequences_waiting;
      sum.kv_tokens_reserved += flow.kv_tokens_reserved;
    }
  });
  std::vector<RealmActivity> activity;
  for (const auto& [id, state] : impl_->realms) {
    const engine::FlowStats& flow = flows[state->flow];
    std::lock_guard realm_lock(state->mutex);
    activity.push_back({.id = id,
                        .tenant_id = state->limits.tenant_id,
                        .requests_running = static_cast<uint32_t>(state->live.size()),
                        .sequences_active = flow.sequences_active,
                        .sequences_waiting = flow.sequences_waiting,
                        .kv_tokens_reserved = flow.kv_tokens_reserved,
                        .prompt_tokens = state->tokens_appended.load(std::memory_order_relaxed),
                        .generation_tokens = state->tokens_taken.load(std::memory_order_relaxed)});
  }
  return activity;
}

sandbox::SandboxStats Runtime::sandbox_stats() const { return impl_->sandbox->stats(); }

uint32_t Runtime::realms_open() const {
  std::lock_guard lock(impl_->mutex);
  return static_cast<uint32_t>(impl_->realms.size());
}

}  // namespace realm::runtime
