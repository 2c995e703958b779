#include "http/server_metrics.h"

#include <algorithm>
#include <cmath>

#include "base/clock.h"

namespace realm::http {
namespace {

using Type = MetricText::Type;

constexpr double rate_memory_s = 10;  // how far back retry_after_s() looks, as a time constant
constexpr size_t codes_max = 64;      // refusal and outcome codes are ours, and few

double seconds(uint64_t ns) { return static_cast<double>(ns) / 1e9; }

}  // namespace

ServerMetrics::OfRealm& ServerMetrics::of_realm(std::string_view realm) {
  const auto found = realms_.find(realm);
  if (found != realms_.end()) return found->second;
  return realms_[realms_.size() < realm_labels_max ? std::string(realm) : "other"];
}

void ServerMetrics::request_began(std::string_view realm) {
  running_.fetch_add(1, std::memory_order_relaxed);
  std::lock_guard lock(mutex_);
  OfRealm& counts = of_realm(realm);
  ++counts.requests;
  ++counts.running;
}

void ServerMetrics::request_ended(std::string_view realm, std::string_view outcome, const runtime::GenerationStats& stats) {
  running_.fetch_sub(1, std::memory_order_relaxed);
  if (stats.time_to_first_token_ns > 0) time_to_first_token_.observe(seconds(stats.time_to_first_token_ns));
  if (stats.completion_tokens > 1) time_per_output_token_.observe(seconds(stats.decode_ns) / (stats.completion_tokens - 1));
  request_seconds_.observe(seconds(stats.wall_ns));
  queue_seconds_.observe(seconds(stats.queue_ns));
  guest_cpu_seconds_.observe(seconds(stats.guest_cpu_ns));
  const int64_t now_ns = monotonic_ns();
  std::lock_guard lock(mutex_);
  OfRealm& counts = of_realm(realm);
  --counts.running;
  counts.prompt_tokens += stats.prompt_tokens;
  counts.cached_tokens += stats.cached_tokens;
  counts.generation_tokens += stats.completion_tokens;
  counts.guest_cpu_ns += stats.guest_cpu_ns;
  if (counts.outcomes.size() < codes_max || counts.outcomes.contains(outcome)) ++counts.outcomes[std::string(outcome)];
  // Exponentially weighted: each end counts 1, and what was counted fades with the time constant.
  const double passed_s = counts.last_end_ns == 0 ? rate_memory_s : seconds(static_cast<uint64_t>(now_ns - counts.last_end_ns));
  counts.ends_per_second = counts.ends_per_second * std::exp(-passed_s / rate_memory_s) + 1 / rate_memory_s;
  counts.last_end_ns = now_ns;
}

uint32_t ServerMetrics::retry_after_s(std::string_view realm) const {
  std::lock_guard lock(mutex_);
  const auto found = realms_.find(realm);
  if (found == realms_.end() || found->second.last_end_ns == 0) return 1;
  const OfRealm& counts = found->second;
  const double passed_s = seconds(static_cast<uint64_t>(monotonic_ns() - counts.last_end_ns));
  const double rate = counts.ends_per_second * std::exp(-passed_s / rate_memory_s);
  const double wait_s = std::ceil(counts.running / std::max(rate, 1.0 / retry_after_s_max));
  return static_cast<uint32_t>(std::clamp(wait_s, 1.0, static_cast<double>(retry_after_s_max)));
}

void ServerMetrics::http_answered(uint16_t status) {
  if (status < statuses_.size()) statuses_[status].fetch_add(1, std::memory_order_relaxed);
}

void ServerMetrics::connection(bool opened) {
  if (opened) connections_total_.fetch_add(1, std::memory_order_relaxed);
  opened ? connections_.fetch_add(1, std::memory_order_relaxed) : connections_.fetch_sub(1, std::memory_order_relaxed);
}

void ServerMetrics::refused(std::string_view code) {
  std::lock_guard lock(mutex_);
  if (refusals_.size() < codes_max || refusals_.contains(code)) ++refusals_[std::string(code)];
}

void ServerMetrics::client_gone() { clients_gone_.fetch_add(1, std::memory_order_relaxed); }

void ServerMetrics::write_realms(MetricText& text) const {
  std::lock_guard lock(mutex_);
  const auto counter = [&](std::string_view name, Type type, std::string_view help, auto value) {
    text.family(name, type, help);
    for (const auto& [realm, counts] : realms_) text.sample(static_cast<double>(value(counts)), {{"realm", realm}});
  };
  counter("realm_requests_total", Type::counter, "Requests taken on", [](const OfRealm& of) { return of.requests; });
  counter("realm_num_requests_running", Type::gauge, "Requests that run or wait", [](const OfRealm& of) { return of.running; });
  counter("realm_prompt_tokens_total", Type::counter, "Prompt tokens", [](const OfRealm& of) { return of.prompt_tokens; });
  counter("realm_prompt_tokens_cached_total", Type::counter, "Prompt tokens that a cached prefix covered",
          [](const OfRealm& of) { return of.cached_tokens; });
  counter("realm_generation_tokens_total", Type::counter, "Generated tokens", [](const OfRealm& of) { return of.generation_tokens; });
  counter("realm_guest_cpu_seconds_total", Type::counter, "CPU time of the programs",
          [](const OfRealm& of) { return seconds(of.guest_cpu_ns); });
  text.family("realm_request_success_total", Type::counter, "Requests ended, by outcome");
  for (const auto& [realm, counts] : realms_) {
    for (const auto& [outcome, count] : counts.outcomes) {
      text.sample(static_cast<double>(count), {{"realm", realm}, {"outcome", outcome}});
    }
  }
  text.family("realm_refused_total", Type::counter, "Requests turned away before they ran, by limit");
  for (const auto& [code, count] : refusals_) text.sample(static_cast<double>(count), {{"limit", code}});
}

void ServerMetrics::write(MetricText& text) const {
  write_realms(text);
  text.family("realm_http_responses_total", Type::counter, "HTTP answers by status");
  for (size_t status = 0; status < statuses_.size(); ++status) {
    const uint64_t count = statuses_[status].load(std::memory_order_relaxed);
    if (count > 0) text.sample(static_cast<double>(count), {{"status", std::to_string(status)}});
  }
  text.single("realm_connections", Type::gauge, "Open client connections", connections_.load());
  text.single("realm_connections_total", Type::counter, "Client connections accepted", static_cast<double>(connections_total_.load()));
  text.single("realm_clients_gone_total", Type::counter, "Requests whose client left before the answer was complete",
              static_cast<double>(clients_gone_.load()));
  text.histogram("realm_time_to_first_token_seconds", "From the request to its first token", time_to_first_token_);
  text.histogram("realm_inter_token_latency_seconds", "Mean time between the tokens of a request", time_per_output_token_);
  text.histogram("realm_e2e_request_latency_seconds", "From the request to its end", request_seconds_);
  text.histogram("realm_request_queue_time_seconds", "Waiting for a place in the batch", queue_seconds_);
  text.histogram("realm_guest_cpu_seconds", "CPU time of a request's program", guest_cpu_seconds_);
}

namespace {

struct ModelFamily {
  const char* name;
  Type type;
  const char* help;
  double (*value)(const engine::SchedulerStats&);
};

constexpr ModelFamily model_families[] = {
    {"realm_num_sequences_running", Type::gauge, "Sequences in the batch",
     [](const auto& s) { return static_cast<double>(s.sequences_active); }},
    {"realm_num_requests_waiting", Type::gauge, "Sequences that wait for admission",
     [](const auto& s) { return static_cast<double>(s.sequences_waiting); }},
    {"realm_sequences_open", Type::gauge, "Sequences that programs hold",
     [](const auto& s) { return static_cast<double>(s.sequences_open); }},
    {"realm_kv_cache_usage_perc", Type::gauge, "Share of the KV tokens that is reserved, 0 to 1",
     [](const auto& s) {
       return s.kv_tokens_capacity == 0 ? 0.0 : static_cast<double>(s.kv_tokens_reserved) / static_cast<double>(s.kv_tokens_capacity);
     }},
    {"realm_kv_tokens_capacity", Type::gauge, "KV tokens that may be reserved",
     [](const auto& s) { return static_cast<double>(s.kv_tokens_capacity); }},
    {"realm_saved_kv_bytes", Type::gauge, "KV of parked sequences and cached prefixes",
     [](const auto& s) { return static_cast<double>(s.saved_bytes); }},
    {"realm_prefix_cache_hit_tokens_total", Type::counter, "Prompt tokens found in a cached prefix",
     [](const auto& s) { return static_cast<double>(s.prefix_hit_tokens); }},
    {"realm_forked_tokens_total", Type::counter, "Tokens whose KV was copied from the sequence that they were forked from",
     [](const auto& s) { return static_cast<double>(s.forked_tokens); }},
    {"realm_steps_total", Type::counter, "Batches computed", [](const auto& s) { return static_cast<double>(s.steps); }},
    {"realm_batch_prefill_tokens_total", Type::counter, "Prompt tokens computed",
     [](const auto& s) { return static_cast<double>(s.prefill_tokens); }},
    {"realm_batch_decode_tokens_total", Type::counter, "New tokens computed",
     [](const auto& s) { return static_cast<double>(s.decode_tokens); }},
    {"realm_guessed_tokens_total", Type::counter, "Tokens computed because a program expected them",
     [](const auto& s) { return static_cast<double>(s.guessed_tokens); }},
    {"realm_guessed_right_tokens_total", Type::counter, "Of those, what was drawn",
     [](const auto& s) { return static_cast<double>(s.guessed_right_tokens); }},
    {"realm_discarded_tokens_total", Type::counter, "Tokens computed ahead and thrown away",
     [](const auto& s) { return static_cast<double>(s.discarded_tokens); }},
    {"realm_interrupted_steps_total", Type::counter, "Steps of a long prompt ended for a realm that had had less",
     [](const auto& s) { return static_cast<double>(s.interrupted_steps); }},
    {"realm_parks_total", Type::counter, "Sequences taken out of the batch with their KV saved",
     [](const auto& s) { return static_cast<double>(s.parks); }},
    {"realm_compute_seconds_total", Type::counter, "Time inside the backend",
     [](const auto& s) { return static_cast<double>(s.compute_ns) / 1e9; }},
    {"realm_step_seconds_total", Type::counter, "Time of whole steps", [](const auto& s) { return static_cast<double>(s.step_ns) / 1e9; }},
    {"realm_step_pause_seconds_total", Type::counter, "Time between steps left to programs that compute for long, and to compilers",
     [](const auto& s) { return static_cast<double>(s.away_ns) / 1e9; }},
};

void write_program_metrics(MetricText& text, const runtime::ProgramCacheStats& programs) {
  text.single("realm_programs_loaded", Type::gauge, "Uploaded programs that are ready to run", programs.programs_ready);
  text.single("realm_program_code_bytes", Type::gauge, "Their native code", static_cast<double>(programs.code_bytes));
  text.single("realm_programs_waiting", Type::gauge, "Programs that are being compiled or wait for it", programs.waiting);
  text.single("realm_program_hits_total", Type::counter, "Times that a ready program was there", static_cast<double>(programs.hits));
  text.family("realm_program_compiles_total", Type::counter, "Programs compiled or read from the code cache, by outcome");
  text.sample(static_cast<double>(programs.loads), {{"outcome", "ok"}});
  text.sample(static_cast<double>(programs.refusals), {{"outcome", "refused"}});
  text.sample(static_cast<double>(programs.failures), {{"outcome", "failed"}});
  text.single("realm_program_compile_seconds_total", Type::counter, "Time of that", seconds(programs.load_ns));
  text.single("realm_program_evictions_total", Type::counter, "Idle programs that made room", static_cast<double>(programs.evictions));
}

}  // namespace

void write_runtime_metrics(MetricText& text, const runtime::Runtime& runtime) {
  const auto models = runtime.models();
  for (const ModelFamily& family : model_families) {
    text.family(family.name, family.type, family.help);
    for (const auto& model : models) text.sample(family.value(model.scheduler), {{"model", model.model.name}});
  }
  write_program_metrics(text, runtime.program_stats());
  const auto sandbox = runtime.sandbox_stats();
  text.single("realm_instances", Type::gauge, "Sandbox instances alive", sandbox.instances_live);
  text.single("realm_instances_moved_to_background_total", Type::counter, "Sandbox instances that computed for long",
              static_cast<double>(sandbox.moved_to_background));
  text.family("realm_instance_outcomes_total", Type::counter, "Sandbox instances ended, by outcome");
  for (size_t i = 0; i < std::size(sandbox.outcomes); ++i) {
    text.sample(static_cast<double>(sandbox.outcomes[i]),
                {{"outcome", std::string(sandbox::outcome_name(static_cast<sandbox::OutcomeKind>(i)))}});
  }
}

}  // namespace realm::http
