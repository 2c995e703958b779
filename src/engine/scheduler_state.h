// The scheduler's own state and the parts of a step. Scheduler thread only, except where said. Internal to the engine.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <unordered_map>
#include <vector>

#include "engine/flow_table.h"
#include "engine/kv_context.h"
#include "engine/prefill_plan.h"
#include "engine/prefix_cache.h"
#include "engine/scheduler.h"
#include "engine/shared_sequence.h"
#include "engine/state_store.h"
#include "engine/step_cost.h"

namespace realm::engine {

constexpr uint32_t no_slot = UINT32_MAX;

// A sequence as the scheduler knows it. KV of its first kv_tokens tokens lies in its slot, or in `saved`, or nowhere (kv_tokens 0).
struct ScheduledSequence {
  std::shared_ptr<SharedSequence> shared;
  Flow* flow = nullptr;
  std::vector<int32_t> tokens;  // the owner's and those computed ahead
  std::vector<int32_t> banned;  // at banned_position
  uint32_t banned_position = 0;
  std::shared_ptr<const TokenMask> drawn_under;  // that the last draw looked at; null: none
  DecodePlan plan;
  uint64_t epoch = 0;
  uint64_t arrival = 0;
  uint32_t generation_start = 0;  // length at which drawing began
  uint64_t family = 0;            // of SharedSequence
  uint64_t used = 0;              // when its KV last served a relative, as a count
  uint32_t kv_tokens = 0;
  uint32_t slot = no_slot;
  uint32_t reserved_tokens = 0;
  std::vector<double> pooled;  // of an embedding: the sum of its rows, or the one row
  SavedState saved;
  uint32_t saved_tokens = 0;  // that `saved` holds; kv_tokens when no rollback happened since
  bool wants = false;         // the owner waits for tokens
  bool halted = false;        // mailbox full, end token, bound or context reached
  bool at_end = false;        // halted, and the owner is likely to close
  bool busy = false;          // counted as busy in its flow
  bool waiting = false;       // in the admission queue
  bool aside = false;         // in steps beside those of the others; set by choose_turn
  bool in_turn = false;       // of those set aside, it is in this step
  uint64_t turn = 0;          // the last one in which it generated aside
  int64_t waiting_since_ns = 0;
  int64_t admitted_ns = 0;
  int64_t first_token_ns = 0;

  bool runnable() const noexcept { return wants && !halted && !tokens.empty(); }
  bool embeds() const noexcept { return shared->options.embeds; }
  bool prefills() const noexcept { return runnable() && pending() > 1; }
  bool has_prompt() const noexcept { return runnable() && (embeds() || pending() > 1); }
  bool generates() const noexcept { return runnable() && pending() <= 1 && !embeds(); }
  uint32_t pending() const noexcept { return static_cast<uint32_t>(tokens.size()) - kv_tokens; }
};

// True when `a` goes before `b`.
bool goes_first(const ScheduledSequence* a, const ScheduledSequence* b);

struct Scheduler::Impl {
  Impl(std::shared_ptr<Model> model, std::shared_ptr<ComputePool> pool, const SchedulerOptions& options, std::unique_ptr<KvContext> kv);
  ~Impl();

  // -- scheduler.cpp: the thread, statements of owners
  void run();
  void pick_up_statements(int64_t wait_until_ns);
  std::vector<std::shared_ptr<SharedSequence>> pick_up(const std::shared_ptr<SharedSequence>& shared);
  void apply_statement(ScheduledSequence& sequence, uint32_t keep, const std::vector<int32_t>& added, bool prompt_added);
  void close(ScheduledSequence& sequence);
  void end(ScheduledSequence& sequence, SequenceStatus status);
  int64_t wait_deadline_ns() const;
  void apply_flow_changes();
  void publish_stats();
  void publish_flow_stats();

  // -- scheduler_slots.cpp: who is in the batch
  bool somebody_generates() const;
  void admit_waiting();
  bool must_wait(const ScheduledSequence& sequence) const;
  bool prompts_fill_steps_before(const ScheduledSequence& sequence) const;
  int64_t inter_token_target_ns() const noexcept { return int64_t{options.inter_token_target_ms} * 1'000'000; }
  ScheduledSequence* first_to_leave(const Flow& flow) const;
  void give_up_place(ScheduledSequence& sequence);
  bool admit(ScheduledSequence& sequence);
  void load_kv(ScheduledSequence& sequence);
  void update_queue(ScheduledSequence& sequence);
  void vacate(ScheduledSequence& sequence, bool keep_kv);
  void keep_prefix(ScheduledSequence& sequence);
  SavedState save_evicting_prefixes(uint32_t slot);
  void make_dense();
  void move_down(uint32_t from, uint32_t to);
  void roll_back_kv(ScheduledSequence& sequence, uint32_t length);
  void release_idle_pages();
  void swap_slots(uint32_t a, uint32_t b);
  void expire_waiting();

  // -- turns.cpp: whose step it is
  void count_pending();
  void set_prompts_aside();
  void set_generating_aside();
  void choose_turn();
  bool is_aside_due(bool others_wait);
  static bool waits_longer(const ScheduledSequence& a, const ScheduledSequence& b);
  static bool generates_first(const ScheduledSequence& generating, const ScheduledSequence& prompt);
  void take_generating_turn(ScheduledSequence& first);
  void order_slots();
  double aside_step_ns() const;
  uint32_t aside_budget() const;
  static constexpr double credit_ns_max = 200e6;
  double share_of_aside() const;
  void settle_turn(int64_t ns);
  bool takes_part(const ScheduledSequence& one) const { return aside_step ? one.in_turn : one.runnable() && !one.aside; }
  bool must_interrupt();
  const Flow* flow_to_interrupt() const;
  void undo_rows();
  static PrefillCandidate prefill_candidate(const ScheduledSequence& sequence);

  // -- fork.cpp: sequences that begin with the same tokens
  void join_family(ScheduledSequence& sequence, uint64_t family);
  void leave_family(ScheduledSequence& sequence);
  bool waits_for_relative(const ScheduledSequence& sequence) const;
  bool copy_from_relative(ScheduledSequence& sequence);
  void hand_over_kv(ScheduledSequence& sequence, uint32_t length);
  SavedState save_for_relative(ScheduledSequence& sequence, uint32_t length);
  bool give_up_dormant();

  // -- embedding_batch.cpp: sequences that want a vector
  struct EmbeddingRow {
    ScheduledSequence* sequence;
    uint32_t tokens;
    int32_t first_index;  // in the batch
  };
  ScheduledSequence* embedding_to_evict(const ScheduledSequence& sequence) const;
  bool has_embedding_stream(const ScheduledSequence& sequence) const;
  bool admit_embedding(ScheduledSequence& sequence);
  void vacate_embedding(ScheduledSequence& sequence);
  void plan_embeddings();
  void add_embedding_slices(std::span<const PrefillCandidate> slices);
  Result<uint32_t> compute_embeddings();  // how many tokens
  void pool_rows(const EmbeddingRow& row);
  void finish_embedding(ScheduledSequence& sequence);

  // -- guesses.cpp: tokens that their owner expects
  struct Row {
    ScheduledSequence* sequence;
    uint32_t tokens;
    bool generating;           // its one token was drawn by us
    int32_t batch_index = -1;  // of the last logits, -1: none wanted
    int32_t drawn = -1;
    uint32_t guesses = 0;                      // of the tokens: they follow the one that was drawn, and all have logits
    uint32_t guessed_right = 0;                // of those: what was drawn in their place
    std::shared_ptr<const KeptRow> kept = {};  // of a judged sequence
  };
  uint32_t guess_room() const;
  uint32_t append_guesses(ScheduledSequence& sequence, uint32_t room) const;
  void take_guesses(const Row& row);

  // -- scheduler_step.cpp: one decode call
  bool step();
  void build_batch();
  uint32_t prefill_budget(uint32_t generating) const;
  void sample_rows();
  void take_rows(int64_t ns);
  void draw(Row& row, std::span<const std::span<const float>> logits);  // any thread, as the next
  int32_t draw(ScheduledSequence& sequence, std::span<const int32_t> history, std::span<const float> logits) const;
  void draw_anew(ScheduledSequence& sequence, const KeptRow& row);
  // Hands a drawn token out. False, and nothing happened: it has to be drawn again.
  bool accept(ScheduledSequence& sequence, int32_t token, const std::shared_ptr<const KeptRow>& row);
  void fail_batch(const Error& error);

  std::shared_ptr<Model> model;
  std::shared_ptr<ComputePool> pool;
  SchedulerOptions options;
  uint64_t kv_tokens_capacity = 0;

  StateStore saved_store;
  StateStore move_store{UINT64_MAX};  // one stream at a time, on its way to another slot
  std::unique_ptr<KvContext> kv;
  PrefixCache prefixes{options.saved_bytes_max / published_share};
  FlowTable flows;
  StepCost step_cost;

  std::shared_ptr<Inbox> inbox = std::make_shared<Inbox>();
  std::vector<std::shared_ptr<SharedSequence>> arrived;
  std::unordered_map<SharedSequence*, std::unique_ptr<ScheduledSequence>> sequences;
  std::vector<ScheduledSequence*> slots;      // dense from 0; slots[i]->slot == i
  std::vector<ScheduledSequence*> waiting;    // for admission
  std::unique_ptr<KvContext> embedding_kv;    // null until it is needed
  std::vector<ScheduledSequence*> embedding;  // by stream of embedding_kv; null: free
  std::vector<EmbeddingRow> embedding_rows;
  std::vector<int64_t> slot_used_ns;  // when a vacated slot was last used; 0: its pages were given back
  uint64_t reserved_tokens = 0;
  uint64_t arrivals = 0;
  std::unordered_map<uint64_t, std::vector<ScheduledSequence*>> families;
  uint64_t copies = 0;  // of KV between relatives

  std::vector<Row> rows;
  std::vector<PrefillCandidate> prefill;
  std::vector<Flow*> decode_flows;      // of the sequences that generate in this step, or will soon
  uint64_t turns = 0;                   // of generating sequences that were set aside
  bool aside_step = false;              // the step is of those set aside whose turn it is; otherwise of all the others
  bool others_run = false;              // some that are not set aside are runnable
  uint32_t others_generating = 0;       // how many of them generate
  int64_t others_ran_ns = 0;            // when they last were
  bool aside_overdue = false;           // as much as can be was due to them, and some is left
  double aside_credit_ns = 0;           // of computing that is due to those set aside
  const Flow* interruptible = nullptr;  // during a step that a newcomer may end
  int64_t interrupted_ns = INT64_MIN / 2;

  // Shared with any thread.
  std::atomic<uint32_t> open_count{0};
  std::atomic<uint64_t> last_family{0};
  mutable std::mutex stats_mutex;
  SchedulerStats stats;                    // written by the scheduler's thread
  SchedulerStats published;                // guarded by stats_mutex
  std::vector<FlowStats> published_flows;  // guarded by stats_mutex
  int64_t flows_published_ns = 0;
  struct FlowChange {
    FlowId flow;
    double weight;  // 0: forget
  };
  std::mutex flow_mutex;
  std::vector<FlowChange> flow_changes;  // guarded by flow_mutex; one per call of an operator, applied between steps
  std::thread thread;
};

}  // namespace realm::engine
