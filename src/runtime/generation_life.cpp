// A request from generate() to on_end(): instances, restarts, outcome, counts.
#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/utf8.h"
#include "runtime/generation.h"

namespace realm::runtime {
namespace {

constexpr int32_t end_code_restart = 100;  // beside enum realm_failure, which HostEnd::code carries otherwise

}  // namespace

Generation::OpenSequence::OpenSequence(std::shared_ptr<RealmState> a_realm, std::shared_ptr<LoadedModel> a_loaded,
                                       const realm_sequence_params_t& some_params, uint64_t a_kv_tokens)
    : realm(std::move(a_realm)), loaded(std::move(a_loaded)), params(some_params), kv_tokens(a_kv_tokens), opened_ns(monotonic_ns()) {}

Generation::OpenSequence::~OpenSequence() {
  if (realm) realm->kv_tokens_reserved.fetch_sub(kv_tokens, std::memory_order_relaxed);
}

Generation::Generation(std::shared_ptr<RealmState> realm, Request request, GenerationListener& listener, ModelLookup& models,
                       DurableStore* store, sandbox::Sandbox& sandbox, std::shared_ptr<const sandbox::Program> program)
    : realm_(std::move(realm)),
      request_(std::move(request)),
      listener_(listener),
      models_(models),
      store_(store),
      sandbox_(sandbox),
      program_(std::move(program)),
      began_ns_(monotonic_ns()),
      handles_(realm_->limits.handles_max) {}

Result<void> Generation::start() {
  {
    std::lock_guard lock(realm_->mutex);
    if (realm_->closed) return realm::fail(ErrorCode::unavailable, "realm " + realm_->id + " is closed");
    if (realm_->live.size() >= realm_->limits.concurrent_requests_max) {
      return realm::fail(ErrorCode::resource_exhausted, "realm " + realm_->id + ": concurrent_requests_max (" +
                                                            std::to_string(realm_->limits.concurrent_requests_max) + ") reached");
    }
    realm_->live.emplace(this, weak_from_this());
  }
  auto started = start_instance();
  if (!started) {
    std::lock_guard lock(realm_->mutex);
    realm_->live.erase(this);
  }
  return started;
}

Result<void> Generation::start_instance() {
  sandbox::StartOptions options;
  options.limits = instance_limits();
  // A restart goes on with what is left of the request's limits.
  const auto used_cpu_ms = static_cast<uint32_t>(stats_.guest_cpu_ns / 1'000'000);
  const auto used_wall_ms = static_cast<uint32_t>((monotonic_ns() - began_ns_) / 1'000'000);
  options.limits.cpu_ms_max -= std::min(used_cpu_ms, options.limits.cpu_ms_max - 1);
  options.limits.wall_ms_max -= std::min(used_wall_ms, options.limits.wall_ms_max - 1);
  options.entry = request_.entry;
  options.host = this;
  {
    std::lock_guard lock(realm_->mutex);
    options.in_background = !realm_->foreground.allows(monotonic_ns());
  }
  began_in_background_ = options.in_background;
  options.on_end = [self = shared_from_this()](sandbox::Outcome&& outcome) { self->instance_ended(std::move(outcome)); };
  auto started = sandbox_.start(program_, std::move(options));
  if (!started) return realm::fail(std::move(started));
  std::lock_guard lock(mutex_);
  instance_ = *started;
  if (cancelled_.load(std::memory_order_relaxed)) instance_.cancel();
  return {};
}

void Generation::cancel() {
  std::lock_guard lock(mutex_);
  cancelled_.store(true, std::memory_order_relaxed);
  if (instance_) instance_.cancel();
}

void Generation::resume() {
  std::lock_guard lock(mutex_);
  emit_waker_.wake();
}

void Generation::note_first_call() {
  if (stats_.instance_start_ns == 0) stats_.instance_start_ns = static_cast<uint64_t>(monotonic_ns() - began_ns_);
}

void Generation::count(const OpenSequence& open) {
  stats_.kv_token_ms += open.kv_tokens * static_cast<uint64_t>(monotonic_ns() - open.opened_ns) / 1'000'000;
  const engine::SequenceStats sequence = open.sequence->stats();
  stats_.prompt_tokens += sequence.prompt_tokens;
  stats_.cached_tokens += sequence.cached_tokens;
  stats_.completion_tokens += sequence.generated_tokens;
  stats_.discarded_tokens += sequence.discarded_tokens;
  stats_.queue_ns += sequence.queue_ns;
  stats_.prefill_ns += sequence.prefill_ns;
  stats_.decode_ns += sequence.decode_ns;
}

bool Generation::may_reserve(uint64_t kv_tokens) {
  handles_.for_each<OpenSequence>([&kv_tokens](const OpenSequence& open) { kv_tokens += open.kv_tokens; });
  return allowance_.covers_kv(kv_tokens);
}

void Generation::instance_ended(sandbox::Outcome&& outcome) {
  handles_.for_each<OpenSequence>([this](const OpenSequence& open) { count(open); });
  handles_.clear();
  opening_.reset();
  storing_.reset();
  product_.reset();
  stats_.guest_cpu_ns += outcome.cpu_ns;
  if (!began_in_background_) {
    std::lock_guard lock(realm_->mutex);
    realm_->foreground.charge(std::min(static_cast<int64_t>(outcome.cpu_ns), ForegroundBudget::instance_ns_max));
  }
  stats_.instantiate_ns = outcome.instantiate_ns;
  stats_.guest_memory_bytes = std::max(stats_.guest_memory_bytes, outcome.memory_bytes_peak);
  if (outcome.kind == sandbox::OutcomeKind::ended_by_host && outcome.end.code == end_code_restart) {
    note_ = std::move(outcome.end.message);
    ++restarts_;
    status_ = 0;
    auto started = start_instance();
    if (!started) finish(std::move(started));
    return;
  }
  finish(result_of(outcome));
}

void Generation::finish(Result<void> result) {
  // An answer without a body has a head all the same.
  if (result && status_ != 0 && !std::exchange(head_delivered_, true)) listener_.on_head(status_, static_cast<Content>(content_));
  if (!result) result.error().message = valid_utf8(result.error().message);  // a program may have written it
  stats_.wall_ns = static_cast<uint64_t>(monotonic_ns() - began_ns_);
  {
    std::lock_guard lock(realm_->mutex);
    realm_->live.erase(this);
  }
  listener_.on_end(std::move(result), stats_);
}

Result<void> Generation::result_of(const sandbox::Outcome& outcome) const {
  using sandbox::OutcomeKind;
  const sandbox::InstanceLimits limits = instance_limits();
  switch (outcome.kind) {
    case OutcomeKind::finished:
      if (outcome.result == 0) return {};
      return realm::fail(ErrorCode::program_failed, "the program returned " + std::to_string(outcome.result));
    case OutcomeKind::trapped:
      return realm::fail(ErrorCode::program_failed, "the program trapped: " + outcome.message);
    case OutcomeKind::out_of_memory:
      return realm::fail(ErrorCode::program_failed,
                         "the program used up its " + std::to_string(limits.memory_bytes_max >> 20) + " MiB of memory");
    case OutcomeKind::cpu_exceeded:
      return realm::fail(ErrorCode::program_failed, "the program used up its " + std::to_string(limits.cpu_ms_max) + " ms of CPU time");
    case OutcomeKind::wall_exceeded:
      return realm::fail(ErrorCode::deadline_exceeded, "the request took longer than its " + std::to_string(limits.wall_ms_max) + " ms");
    case OutcomeKind::cancelled:
      return realm::fail(ErrorCode::cancelled, "the request was cancelled");
    case OutcomeKind::refused:
      return realm::fail(ErrorCode::unavailable, "no sandbox for the request: " + outcome.message);
    case OutcomeKind::ended_by_host:
      break;
  }
  switch (outcome.end.code) {
    case sandbox::end_code_exit_success:
      return {};
    case REALM_FAIL_BAD_REQUEST:
      return realm::fail(ErrorCode::invalid_argument, outcome.end.message);
    case REALM_FAIL_CONTEXT_EXCEEDED:
      return realm::fail(ErrorCode::context_exceeded, outcome.end.message);
    case REALM_FAIL_MODEL_NOT_FOUND:
      return realm::fail(ErrorCode::not_found, outcome.end.message);
    case REALM_FAIL_UNAVAILABLE:
      if (host_error_) return std::unexpected(*host_error_);
      return realm::fail(ErrorCode::unavailable, outcome.end.message);
    default:
      return realm::fail(ErrorCode::program_failed, outcome.end.message);
  }
}

// -- fail and restart, which end an instance

int32_t Generation::fail(sandbox::HostCall& call, uint32_t failure, std::span<const uint8_t> message) {
  if (failure < REALM_FAIL_BAD_REQUEST || failure > REALM_FAIL_PROGRAM) return REALM_INVALID_ARGUMENT;
  const auto bytes = std::min<size_t>(message.size(), failure_message_bytes_max);
  call.end(static_cast<int32_t>(failure), std::string(reinterpret_cast<const char*>(message.data()), bytes));
  return REALM_OK;
}

int32_t Generation::restart(sandbox::HostCall& call, std::span<const uint8_t> note) {
  if (note.size() > restart_note_bytes_max || emitted_bytes_ > 0) return REALM_INVALID_ARGUMENT;
  if (restarts_ >= restarts_max) return REALM_LIMIT;
  call.end(end_code_restart, std::string(note.begin(), note.end()));
  return REALM_OK;
}

int32_t Generation::restart_note(sandbox::HostCall&, std::span<uint8_t> destination) {
  if (note_.size() <= destination.size()) std::copy(note_.begin(), note_.end(), destination.begin());
  return static_cast<int32_t>(note_.size());
}

}  // namespace realm::runtime
