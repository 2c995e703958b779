#include "engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread_name.h"
#include "engine/scheduler_state.h"

namespace realm::engine {
namespace {

constexpr uint32_t slots_released_max = 4;      // between two steps
constexpr int64_t pages_kept_ns = 500'000'000;  // a vacated stream's pages stay so long, for whoever comes next
constexpr int64_t idle_wait_ns = 3'600'000'000'000;

Result<void> check_options(const SchedulerOptions& options) {
  if (options.sequences_max < 1 || options.sequences_max > 256) {
    return fail(ErrorCode::invalid_argument, "sequences_max: must be 1 to 256, not " + std::to_string(options.sequences_max));
  }
  if (options.prefill_tokens_max < 16 || options.prefill_tokens_max > 8'192) {
    return fail(ErrorCode::invalid_argument, "prefill_tokens_max: must be 16 to 8192, not " + std::to_string(options.prefill_tokens_max));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Scheduler>> Scheduler::create(std::shared_ptr<Model> model, std::shared_ptr<ComputePool> pool,
                                                     const SchedulerOptions& options) {
  if (auto valid = check_options(options); !valid) return fail(std::move(valid));
  const ModelInfo& info = model->info();
  if (options.context_tokens_max > info.context_tokens_trained) {
    return fail(ErrorCode::invalid_argument, "context: " + std::to_string(options.context_tokens_max) + " tokens asked for, but " +
                                                 info.name + " was trained for " + std::to_string(info.context_tokens_trained));
  }
  const KvContextOptions kv_options{.streams = options.sequences_max,
                                    .stream_tokens_max = options.context_tokens_max > 0
                                                             ? options.context_tokens_max
                                                             : std::min(info.context_tokens_trained, context_tokens_default),
                                    .batch_tokens_max = options.prefill_tokens_max,
                                    .extra_rows_max = guesses_max,
                                    .kv_type = options.kv_type};
  auto kv = KvContext::create(model, *pool, kv_options);
  if (!kv) return fail(std::move(kv));
  auto impl = std::make_unique<Impl>(model, std::move(pool), options, std::move(*kv));
  return std::unique_ptr<Scheduler>(new Scheduler(std::move(model), std::move(impl)));
}

Scheduler::Scheduler(std::shared_ptr<Model> model, std::unique_ptr<Impl> impl) : model_(std::move(model)), impl_(std::move(impl)) {
  context_tokens_max_ = impl_->stats.context_tokens_max;
}

Scheduler::~Scheduler() = default;

Result<std::unique_ptr<Sequence>> Scheduler::open(SequenceOptions options) {
  if (options.tokens_max > context_tokens_max_) {
    return fail(ErrorCode::context_exceeded, "tokens_max: " + std::to_string(options.tokens_max) + " is more than the context of " +
                                                 std::to_string(context_tokens_max_) + " tokens");
  }
  if (impl_->inbox->stopping()) return fail(ErrorCode::unavailable, "the model is being unloaded");
  if (impl_->open_count.fetch_add(1, std::memory_order_relaxed) >= impl_->options.sequences_open_max) {
    impl_->open_count.fetch_sub(1, std::memory_order_relaxed);
    return fail(ErrorCode::resource_exhausted, "sequences_open_max: " + std::to_string(impl_->options.sequences_open_max) + " are open");
  }
  auto shared = std::make_shared<SharedSequence>();
  shared->tokens_max = options.tokens_max > 0 ? options.tokens_max : context_tokens_max_;
  shared->vocabulary_tokens = model_->info().vocabulary_tokens;
  shared->options = std::move(options);
  shared->inbox = impl_->inbox;
  auto sequence = std::unique_ptr<Sequence>(new Sequence);
  sequence->shared_ = std::move(shared);
  return sequence;
}

void Scheduler::set_flow_weight(FlowId flow, double weight) {
  std::lock_guard lock(impl_->flow_mutex);
  impl_->flow_changes.push_back({flow, weight});
}

void Scheduler::forget_flow(FlowId flow) {
  std::lock_guard lock(impl_->flow_mutex);
  impl_->flow_changes.push_back({flow, 0});
}

SchedulerStats Scheduler::stats() const {
  std::lock_guard lock(impl_->stats_mutex);
  SchedulerStats stats = impl_->published;
  stats.sequences_open = impl_->open_count.load(std::memory_order_relaxed);
  return stats;
}

std::vector<FlowStats> Scheduler::flow_stats() const {
  std::lock_guard lock(impl_->stats_mutex);
  return impl_->published_flows;
}

Scheduler::Impl::Impl(std::shared_ptr<Model> a_model, std::shared_ptr<ComputePool> a_pool, const SchedulerOptions& an_options,
                      std::unique_ptr<KvContext> a_kv)
    : model(std::move(a_model)),
      pool(std::move(a_pool)),
      options(an_options),
      saved_store(an_options.saved_bytes_max),
      kv(std::move(a_kv)),
      slot_used_ns(an_options.sequences_max, 0) {
  const uint64_t bytes_per_token = std::max<uint64_t>(kv->bytes_per_token(), 1);
  const uint64_t bytes = options.kv_bytes_max > 0 ? options.kv_bytes_max : free_memory_bytes() / 2;
  const uint64_t every_stream_full = uint64_t{kv->stream_tokens_max()} * options.sequences_max;
  kv_tokens_capacity = std::min(bytes / bytes_per_token, every_stream_full);
  stats.context_tokens_max = kv->stream_tokens_max();
  stats.kv_bytes_per_token = kv->bytes_per_token();
  stats.kv_tokens_capacity = kv_tokens_capacity;
  published = stats;
  kv->set_interrupt([this] { return must_interrupt(); });
  thread = start_thread("steps", [this] { run(); });
}

Scheduler::Impl::~Impl() {
  inbox->stop();
  thread.join();
}

void Scheduler::Impl::run() {
  pool->bind_caller();
  bool worked = false;
  while (!inbox->stopping()) {
    pick_up_statements(worked ? 0 : wait_deadline_ns());
    apply_flow_changes();
    expire_waiting();
    count_pending();
    make_dense();
    admit_waiting();
    make_dense();
    choose_turn();
    order_slots();
    worked = step();
    release_idle_pages();
    publish_stats();
  }
  pick_up_statements(0);
  for (auto& [key, sequence] : sequences) end(*sequence, SequenceStatus::unavailable);
}

int64_t Scheduler::Impl::wait_deadline_ns() const {
  int64_t deadline = monotonic_ns() + idle_wait_ns;
  for (const ScheduledSequence* sequence : waiting) {
    deadline = std::min(deadline, sequence->waiting_since_ns + int64_t{sequence->shared->options.queue_deadline_ms} * 1'000'000);
  }
  for (const int64_t used_ns : slot_used_ns) {
    if (used_ns > 0) deadline = std::min(deadline, used_ns + pages_kept_ns);
  }
  return deadline;
}

// A few at a time: thousands of ranges of memory take as long as a step does.
void Scheduler::Impl::release_idle_pages() {
  const int64_t now = monotonic_ns();
  uint32_t left = slots_released_max;
  for (uint32_t slot = static_cast<uint32_t>(slots.size()); slot < slot_used_ns.size(); ++slot) {
    if (slot_used_ns[slot] == 0 || now - slot_used_ns[slot] < pages_kept_ns || left == 0) continue;
    --left;
    kv->release_pages(slot);
    slot_used_ns[slot] = 0;
  }
}

void Scheduler::Impl::apply_flow_changes() {
  std::vector<FlowChange> changes;
  {
    std::lock_guard lock(flow_mutex);
    changes.swap(flow_changes);
  }
  for (const FlowChange& change : changes) {
    if (change.weight > 0) {
      flows.set_weight(change.flow, change.weight);
    } else {
      flows.forget(change.flow);
      prefixes.forget(change.flow);
    }
  }
}

void Scheduler::Impl::pick_up_statements(int64_t wait_until_ns) {
  inbox->take(arrived, wait_until_ns);
  std::ranges::reverse(arrived);  // taken out at the back, oldest first
  while (!arrived.empty()) {
    const auto shared = arrived.back();
    auto forks = pick_up(shared);
    if (forks.empty()) {
      arrived.pop_back();
    } else {
      arrived.insert(arrived.end(), std::make_move_iterator(forks.begin()), std::make_move_iterator(forks.end()));
    }
  }
}

// Does nothing but return forks of the sequence that are new: they come first, so that what it states now cannot take KV from them.
std::vector<std::shared_ptr<SharedSequence>> Scheduler::Impl::pick_up(const std::shared_ptr<SharedSequence>& shared) {
  auto& entry = sequences[shared.get()];
  if (!entry) {
    entry = std::make_unique<ScheduledSequence>();
    entry->shared = shared;
    entry->arrival = arrivals++;
    entry->flow = &flows.open(shared->options.flow);
  }
  ScheduledSequence& sequence = *entry;
  std::vector<int32_t> added;
  uint32_t keep = 0;
  bool changed = false;
  bool prompt_added = false;
  std::shared_ptr<const KeptRow> row;  // what the next token is drawn from, if it was computed already
  bool closed = false;
  uint64_t family = 0;
  {
    std::lock_guard lock(shared->mutex);
    if (!shared->forks.empty()) return std::exchange(shared->forks, {});
    shared->in_inbox = false;
    family = shared->family;
    closed = shared->closed;
    changed = shared->epoch != sequence.epoch;
    sequence.epoch = shared->epoch;
    keep = std::exchange(shared->keep, shared->length());
    added.assign(shared->tokens.begin() + keep, shared->tokens.end());
    if (std::exchange(shared->plan_changed, false)) sequence.plan = shared->plan;
    prompt_added = std::exchange(shared->prompt_added, false);
    if (changed) {
      sequence.banned = shared->banned;
      sequence.banned_position = shared->banned_position;
      if (added.empty() && shared->wants) row = shared->rows.find(shared->length());
    }
    sequence.wants = shared->wants;
    sequence.halted = shared->paused || shared->stopped || shared->full;
    sequence.at_end = (shared->stopped && options.run_ahead) || shared->full;
    if (shared->ended != SequenceStatus::ok) sequence.wants = false;
  }
  if (family != sequence.family) join_family(sequence, family);
  if (closed) return close(sequence), std::vector<std::shared_ptr<SharedSequence>>();
  if (changed) apply_statement(sequence, keep, added, prompt_added);
  update_queue(sequence);
  if (row && sequence.runnable()) draw_anew(sequence, *row);
  return {};
}

void Scheduler::Impl::apply_statement(ScheduledSequence& sequence, uint32_t keep, const std::vector<int32_t>& added, bool prompt_added) {
  stats.discarded_tokens += sequence.tokens.size() - keep;
  if (keep < sequence.kv_tokens) hand_over_kv(sequence, keep);
  sequence.tokens.resize(keep);
  roll_back_kv(sequence, keep);
  sequence.tokens.insert(sequence.tokens.end(), added.begin(), added.end());
  const auto length = static_cast<uint32_t>(sequence.tokens.size());
  sequence.generation_start = prompt_added ? length : std::min(sequence.generation_start, length);
}

void Scheduler::Impl::close(ScheduledSequence& sequence) {
  sequence.wants = false;
  update_queue(sequence);
  if (sequence.slot == no_slot) hand_over_kv(sequence, 0);
  if (sequence.shared->options.keep_prefix) keep_prefix(sequence);
  if (sequence.slot != no_slot) hand_over_kv(sequence, 0);
  if (sequence.slot != no_slot) vacate(sequence, false);
  leave_family(sequence);
  flows.close(*sequence.flow);
  open_count.fetch_sub(1, std::memory_order_relaxed);
  sequences.erase(sequence.shared.get());
}

void Scheduler::Impl::end(ScheduledSequence& sequence, SequenceStatus status) {
  {
    std::lock_guard lock(sequence.shared->mutex);
    sequence.shared->ended = status;
    if (std::exchange(sequence.shared->owner_waits, false) && sequence.shared->options.on_ready) sequence.shared->options.on_ready();
  }
  sequence.wants = false;
  update_queue(sequence);
  if (sequence.slot != no_slot) vacate(sequence, false);
}

void Scheduler::Impl::publish_stats() {
  stats.kv_tokens_reserved = reserved_tokens;
  stats.sequences_active = static_cast<uint32_t>(slots.size() + embedding.size() - std::count(embedding.begin(), embedding.end(), nullptr));
  stats.sequences_waiting = static_cast<uint32_t>(waiting.size());
  stats.saved_bytes = saved_store.bytes_used();
  stats.kept_row_bytes = inbox->kept_row_bytes()->load(std::memory_order_relaxed);
  {
    std::lock_guard lock(stats_mutex);
    published = stats;
  }
  const int64_t now = monotonic_ns();
  if ((stats.sequences_active > 0 || !waiting.empty()) && now - flows_published_ns < int64_t{flow_stats_age_ms} * 1'000'000) return;
  flows_published_ns = now;
  publish_flow_stats();
}

void Scheduler::Impl::publish_flow_stats() {
  std::unordered_map<FlowId, FlowStats> by_flow;
  const auto of = [&by_flow](const ScheduledSequence& sequence) -> FlowStats& {
    FlowStats& flow = by_flow[sequence.flow->id];
    flow.flow = sequence.flow->id;
    flow.kv_tokens_reserved += sequence.reserved_tokens;
    return flow;
  };
  for (const ScheduledSequence* sequence : embedding) {
    if (sequence != nullptr) ++of(*sequence).sequences_active;
  }
  for (const ScheduledSequence* sequence : slots) ++of(*sequence).sequences_active;
  for (const ScheduledSequence* sequence : waiting) ++of(*sequence).sequences_waiting;
  std::vector<FlowStats> busy;
  busy.reserve(by_flow.size());
  for (const auto& [id, flow] : by_flow) busy.push_back(flow);
  std::lock_guard lock(stats_mutex);
  published_flows = std::move(busy);
}

}  // namespace realm::engine
