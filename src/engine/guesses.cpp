// Tokens that their owner expects to come next: computed in the same step as the token before them, and kept as far as they are what
// would have been drawn (speculative decoding with the owner as the draft model).
#include <algorithm>

#include "engine/scheduler_state.h"

namespace realm::engine {

// Guessed tokens that the step can take. In a step with others they make llama.cpp read the weights once more: that must not be at the
// cost of another flow.
uint32_t Scheduler::Impl::guess_room() const {
  if (!options.run_ahead || !model->info().can_roll_back) return 0;
  const Flow* flow = nullptr;
  for (const auto* places : {&slots, &embedding}) {
    for (const ScheduledSequence* one : *places) {
      if (one == nullptr || !takes_part(*one)) continue;
      if (flow != nullptr && one->flow != flow) return 0;
      flow = one->flow;
    }
  }
  return guesses_max;
}

// Puts what the owner expects to follow the sequence's tokens behind them, for this step; returns how many.
uint32_t Scheduler::Impl::append_guesses(ScheduledSequence& sequence, uint32_t room) const {
  if (room == 0 || sequence.plan.keep_rows) return 0;
  SharedSequence& shared = *sequence.shared;
  std::lock_guard lock(shared.mutex);
  const std::span<const int32_t> guesses = shared.guesses;
  const auto length = static_cast<uint32_t>(sequence.tokens.size());
  if (guesses.empty() || shared.epoch != sequence.epoch || shared.guess_position > length) return 0;
  const uint32_t drawn = length - shared.guess_position;  // since
  if (drawn >= guesses.size() || !std::ranges::equal(guesses.first(drawn), std::span(sequence.tokens).last(drawn))) return 0;
  uint32_t count = std::min(room, static_cast<uint32_t>(guesses.size()) - drawn);
  // One token more than are guessed may be drawn.
  count = std::min(count, shared.tokens_max - length - 1);
  count = std::min(count, run_ahead_tokens_max - 1 - static_cast<uint32_t>(shared.mailbox.size()));
  const uint32_t most = sequence.plan.new_tokens_max;
  if (most > 0) count = std::min(count, most - std::min(most, length - sequence.generation_start + 1));
  const auto next = guesses.subspan(drawn, count);
  sequence.tokens.insert(sequence.tokens.end(), next.begin(), next.end());
  return count;
}

// Hands out the guesses that were right and the token drawn after them, and takes back the others.
void Scheduler::Impl::take_guesses(const Row& row) {
  ScheduledSequence& sequence = *row.sequence;
  const auto first = sequence.tokens.end() - row.guesses;
  std::vector<int32_t> drawn(first, first + row.guessed_right);
  drawn.push_back(row.drawn);
  sequence.tokens.erase(first, sequence.tokens.end());
  for (uint32_t i = 0; i < drawn.size() && !sequence.halted; ++i) {
    ++sequence.kv_tokens;
    int32_t token = drawn[i];
    const auto logits = [&] { return kv->logits(row.batch_index - static_cast<int32_t>(row.guesses - i)); };
    while (!accept(sequence, token, nullptr)) token = draw(sequence, sequence.tokens, logits());
    if (token != drawn[i]) break;  // what was drawn after it followed another token
  }
  if (!kv->truncate(sequence.slot, sequence.kv_tokens)) sequence.kv_tokens = 0;
  stats.guessed_tokens += row.guesses;
  stats.guessed_right_tokens += row.guessed_right;
}

}  // namespace realm::engine
