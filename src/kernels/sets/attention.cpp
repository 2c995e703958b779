#include "kernels/sets/attention.h"

#include <cmath>

#include "kernels/sets/attention_blocks.h"
#include "kernels/sets/attention_columns.h"

namespace realm::kernels {
namespace {

// What is known of a tile's rows after some positions: the largest score, and the sums of the weights and of the weighted values, both
// relative to it.
struct State {
  float* values;  // [row][value_size]
  float* largest;
  float* total;

  State from(int row, int value_size) const { return {values + row * value_size, largest + row, total + row}; }
};

enum class MaskKind : uint8_t { none, some, all };

// The memory of one worker.
struct Scratch {
  float* queries;
  float* keys;
  float* values;
  float* scores;
  float* bias;  // [token][block_positions]
  MaskKind* kinds;
  Cut* cuts;
  State item;        // of the item's chunks so far
  State chunk;       // of one chunk
  float* continued;  // states of the chunks of an item whose first ones are another worker's
};

// Hands out the parts of a worker's memory one after the other. Without memory it only measures.
class Layout {
 public:
  explicit Layout(char* memory) : memory_(memory) {}

  template <typename T>
  T* take(size_t count) {
    char* at = memory_ == nullptr ? nullptr : memory_ + bytes_;
    bytes_ += round_up(count * sizeof(T));
    return reinterpret_cast<T*>(at);
  }
  size_t bytes() const { return bytes_; }

 private:
  char* memory_;
  size_t bytes_ = 0;
};

Scratch lay_out(const Attention& task, const Plan& plan, int workers, Layout& layout) {
  const auto rows = static_cast<size_t>(plan.rows_max()), tokens = static_cast<size_t>(plan.tile_tokens());
  const auto key_size = static_cast<size_t>(task.key_size), value_size = static_cast<size_t>(task.value_size);
  Scratch scratch{};
  scratch.queries = layout.take<float>(rows * key_size);
  scratch.keys = layout.take<float>(block_positions * key_size);
  scratch.values = layout.take<float>(block_positions * value_size);
  scratch.scores = layout.take<float>(rows * score_step);
  scratch.bias = layout.take<float>(tokens * block_positions);
  scratch.kinds = layout.take<MaskKind>(tokens);
  scratch.cuts = layout.take<Cut>(static_cast<size_t>(workers) + 1);
  const auto take_state = [&] { return State{layout.take<float>(rows * value_size), layout.take<float>(rows), layout.take<float>(rows)}; };
  scratch.item = take_state();
  scratch.chunk = take_state();
  scratch.continued = layout.take<float>(static_cast<size_t>(plan.chunks_max()) * static_cast<size_t>(plan.cut_rows()) * (value_size + 2));
  return scratch;
}

// ALiBi's slope of a head, as ggml has it.
float slope_of(const Attention& task, int head) {
  if (task.max_bias <= 0) return 1;
  const int power = 1 << static_cast<int>(std::floor(std::log2(static_cast<float>(task.heads))));
  const float base = std::exp2(-task.max_bias / static_cast<float>(power));
  if (head < power) return std::pow(base, static_cast<float>(head + 1));
  return std::pow(std::sqrt(base), static_cast<float>(2 * (head - power) + 1));
}

template <KvType type>
class Attending {
 public:
  Attending(const Attention& task, const Plan& plan, const Scratch& scratch) : task_(task), plan_(plan), scratch_(scratch) {}

  void begin(const Item& item) {
    head_rows_ = item.tokens * plan_.group();
    rows_ = head_rows_ * item.kv_heads;
    const float scale = task_.softcap == 0 ? task_.scale : task_.scale / task_.softcap;
    for (int row = 0; row < rows_; ++row) {
      const auto* query = reinterpret_cast<const float*>(task_.queries.at(token_of(item, row), head_of(item, row), item.stream));
      for (int i = 0; i < task_.key_size; i += lanes) store(scratch_.queries + row * task_.key_size + i, load(query + i) * scale);
    }
  }

  void clear(const State& state) const {
    std::fill_n(state.values, rows_ * task_.value_size, 0.0f);
    std::fill_n(state.largest, rows_, -infinity);
    std::fill_n(state.total, rows_, 0.0f);
  }

  // One chunk of the item that was begun, into `state`.
  void run(const Item& item, int chunk, const State& state) {
    clear(state);
    const Range range = item.range.chunk(chunk);
    for (int at = range.begin / block_positions * block_positions; at < range.end; at += block_positions) {
      add_block(item, at, {std::max(at, range.begin), std::min(at + block_positions, range.end)}, state);
    }
  }

  // Adds what was found for the next chunk.
  void merge(const State& from, const State& into) const {
    for (int row = 0; row < rows_; ++row) {
      const float top = std::max(from.largest[row], into.largest[row]);
      if (top == -infinity) continue;
      const float theirs = std::exp(from.largest[row] - top), ours = std::exp(into.largest[row] - top);
      into.largest[row] = top;
      into.total[row] = into.total[row] * ours + from.total[row] * theirs;
      float* sum = into.values + row * task_.value_size;
      const float* other = from.values + row * task_.value_size;
      for (int i = 0; i < task_.value_size; i += lanes) store(sum + i, load(sum + i) * ours + load(other + i) * theirs);
    }
  }

  void finish(const Item& item, const State& state) const {
    for (int row = 0; row < rows_; ++row) {
      const int token = token_of(item, row), head = head_of(item, row);
      float total = state.total[row];
      float factor = 1;
      if (task_.sinks != nullptr) {
        const float top = std::max(state.largest[row], task_.sinks[head]);
        factor = std::exp(state.largest[row] - top);
        total = total * factor + std::exp(task_.sinks[head] - top);
      }
      factor = total == 0 ? 0 : factor / total;
      const auto index = (static_cast<size_t>(item.stream) * static_cast<size_t>(task_.tokens) + static_cast<size_t>(token)) *
                             static_cast<size_t>(task_.heads) +
                         static_cast<size_t>(head);
      float* out = task_.out + index * static_cast<size_t>(task_.value_size);
      for (int i = 0; i < task_.value_size; i += lanes) store(out + i, load(state.values + row * task_.value_size + i) * factor);
    }
  }

 private:
  // Rows lie by heads of keys and values, then by tokens, then by the heads of a group.
  int head_of(const Item& item, int row) const {
    return (item.kv_head + row / head_rows_) * plan_.group() + row % head_rows_ % plan_.group();
  }
  int token_of(const Item& item, int row) const { return item.token + row % head_rows_ / plan_.group(); }

  // The positions of `range`, which lie in the block that begins at `begin`.
  void add_block(const Item& item, int begin, Range range, const State& state) {
    if (!take_mask(item, begin, range)) return;
    for (int head = 0; head < item.kv_heads; ++head) add_block_of_head(item, head, begin, range, state);
  }

  // `head`: of the item's, for keys and values.
  void add_block_of_head(const Item& item, int head, int begin, Range range, const State& state) {
    const int stream = item.stream / (task_.streams / task_.kv_streams), lead = range.begin - begin, first_row = head * head_rows_;
    const char* keys = task_.keys.at(range.begin, item.kv_head + head, stream);
    const char* values = task_.values.at(range.begin, item.kv_head + head, stream);
    const float* queries = scratch_.queries + first_row * task_.key_size;
    const State of_head = state.from(first_row, task_.value_size);
    const auto weigh_rows = [&] {
      for (int row = 0; row < head_rows_; ++row) weigh(item.kv_head + head, row, of_head);
    };
    if (head_rows_ <= few_rows) {
      score<type>(queries, keys, task_.keys.position_step, range, lead);
      weigh_rows();
      add_values<type>(values, task_.values.position_step, range, lead, of_head);
      return;
    }
    const int positions = range.end - range.begin;
    if (has_columns && head_rows_ >= column_rows_min) {
      lay_out_columns<type>(keys, task_.keys.position_step, positions, task_.key_size, scratch_.keys);
      score_in_columns(queries, range, lead);
    } else {
      lay_out_floats<type>(keys, task_.keys.position_step, positions, task_.key_size, scratch_.keys);
      score<KvType::f32>(queries, reinterpret_cast<const char*>(scratch_.keys), static_cast<size_t>(task_.key_size) * sizeof(float), range,
                         lead);
    }
    weigh_rows();
    lay_out_floats<type>(values, task_.values.position_step, positions, task_.value_size, scratch_.values);
    add_values<KvType::f32>(reinterpret_cast<const char*>(scratch_.values), static_cast<size_t>(task_.value_size) * sizeof(float), range,
                            lead, of_head);
  }

  template <KvType as>
  void score(const float* queries, const char* keys, size_t step, Range range, int lead) {
    for_rows<as == KvType::f32 ? rows_together : few_rows>(head_rows_, [&](auto count, int row) {
      score_positions<as, count()>(queries + row * task_.key_size, task_.key_size, keys, step, range.end - range.begin,
                                   scratch_.scores + row * score_step + lead);
    });
  }

  void score_in_columns(const float* queries, Range range, int lead) {
    if constexpr (has_columns) {
      for_rows<column_rows_together>(head_rows_, [&](auto count, int row) {
        score_columns<count()>(queries + row * task_.key_size, task_.key_size, scratch_.keys, range.end - range.begin,
                               scratch_.scores + row * score_step + lead);
      });
    }
  }

  template <KvType as>
  void add_values(const char* values, size_t step, Range range, int lead, const State& state) {
    for_rows<as == KvType::f32 ? rows_together : few_rows>(head_rows_, [&](auto count, int row) {
      add_values_of_positions<as, count()>(scratch_.scores + row * score_step + lead, values, step, range.end - range.begin,
                                           state.values + row * task_.value_size, task_.value_size);
    });
  }

  // What to add to the scores of each token. False: nobody sees anything of this block.
  bool take_mask(const Item& item, int begin, Range range) {
    const bool complete = range.end - range.begin == block_positions;
    bool anything = false;
    for (int token = 0; token < item.tokens; ++token) {
      float* bias = scratch_.bias + token * block_positions;
      const uint16_t* row = mask_row(task_, item.stream, item.token + token);
      uint16_t some = 0, unmasked = 0;
      for (int i = range.begin; row != nullptr && i < range.end; ++i) {
        some = static_cast<uint16_t>(some | row[i]);
        unmasked = static_cast<uint16_t>(unmasked | (row[i] ^ masked_half));
      }
      MaskKind& kind = scratch_.kinds[token];
      kind = row != nullptr && unmasked == 0 ? MaskKind::all : some == 0 && complete ? MaskKind::none : MaskKind::some;
      anything = anything || kind != MaskKind::all;
      if (kind != MaskKind::some) continue;
      std::fill_n(bias, block_positions, -infinity);
      for (int i = range.begin; i < range.end; ++i) bias[i - begin] = row == nullptr ? 0 : half_to_float(row[i]);
    }
    return anything;
  }

  // Turns the scores of one of the rows of a head of keys and values into weights.
  void weigh(int kv_head, int row, const State& state) {
    float* scores = scratch_.scores + row * score_step;
    const int token = row / plan_.group();
    const MaskKind kind = scratch_.kinds[token];
    if (kind == MaskKind::all) {
      for (int i = 0; i < block_positions; i += lanes) store(scores + i, zeros());
      return;
    }
    if (task_.softcap != 0) {
      for (int i = 0; i < block_positions; i += lanes) store(scores + i, hyperbolic_tangent(load(scores + i)) * task_.softcap);
    }
    if (kind == MaskKind::some) {
      const float slope = slope_of(task_, kv_head * plan_.group() + row % plan_.group());
      const float* bias = scratch_.bias + token * block_positions;
      // Scores outside of the range are undefined, so the mask is chosen there rather than added.
      for (int i = 0; i < block_positions; i += lanes) {
        const Floats added = load(bias + i) * slope;
        store(scores + i, added == spread(-infinity) ? added : load(scores + i) + added);
      }
    }
    Floats tops = load(scores);
    for (int i = lanes; i < block_positions; i += lanes) tops = larger(tops, load(scores + i));
    const float before = state.largest[row], top = std::max(before, largest(tops));
    if (top == -infinity) {
      for (int i = 0; i < block_positions; i += lanes) store(scores + i, zeros());
      return;
    }
    Floats totals = zeros();
    for (int i = 0; i < block_positions; i += lanes) {
      const Floats weights = exponential(load(scores + i) - top);
      totals += weights;
      store(scores + i, weights);
    }
    float* values = state.values + row * task_.value_size;
    const float shrink = top == before ? 1 : std::exp(before - top);
    if (shrink != 1) {
      for (int i = 0; i < task_.value_size; i += lanes) store(values + i, load(values + i) * shrink);
    }
    state.largest[row] = top;
    state.total[row] = state.total[row] * shrink + sum(totals);
  }

  const Attention& task_;
  const Plan& plan_;
  const Scratch& scratch_;
  int rows_ = 0;       // of the item
  int head_rows_ = 0;  // of each head of keys and values
};

// A worker's share of the work, and the putting together of what was cut.
template <KvType type>
class Share {
 public:
  Share(const Attention& task, const Plan& plan, const Worker& worker, char* memories, size_t memory_bytes)
      : task_(task),
        plan_(plan),
        worker_(worker),
        memories_(memories),
        memory_bytes_(memory_bytes),
        scratch_(scratch_of(worker.index)),
        cuts_(scratch_.cuts, static_cast<size_t>(worker.count) + 1),
        attending_(task, plan, scratch_) {
    plan.cut(cuts_);
  }

  void attend() {
    const Cut begin = cut(worker_.index), end = cut(worker_.index + 1);
    int i = begin.item;
    if (begin.chunk > 0) {
      continue_item(i, begin.chunk, end.item == i ? end.chunk : plan_.item(i).range.chunks());
      if (end.item == i) return wait();
      ++i;
    }
    for (; i < end.item; ++i) {
      const Item item = plan_.item(i);
      begin_item(item, item.range.chunks());
      attending_.finish(item, scratch_.item);
    }
    if (end.chunk == 0) return wait();
    const Item item = plan_.item(end.item);
    begin_item(item, end.chunk);
    wait();
    add_what_others_found(item);
    attending_.finish(item, scratch_.item);
  }

 private:
  Cut cut(int worker) const { return cuts_[static_cast<size_t>(worker)]; }

  Scratch scratch_of(int worker) const {
    Layout layout(memories_ + static_cast<size_t>(worker) * memory_bytes_);
    return lay_out(task_, plan_, worker_.count, layout);
  }

  State continued(const Scratch& scratch, int index) const {
    const auto rows = static_cast<size_t>(plan_.cut_rows()), size = static_cast<size_t>(task_.value_size);
    float* at = scratch.continued + static_cast<size_t>(index) * rows * (size + 2);
    return {at, at + rows * size, at + rows * (size + 1)};
  }

  void begin_item(const Item& item, int chunks) {
    attending_.begin(item);
    attending_.clear(scratch_.item);
    for (int chunk = 0; chunk < chunks; ++chunk) {
      attending_.run(item, chunk, scratch_.chunk);
      attending_.merge(scratch_.chunk, scratch_.item);
    }
  }

  void continue_item(int index, int from, int to) {
    const Item item = plan_.item(index);
    attending_.begin(item);
    for (int chunk = from; chunk < to; ++chunk) attending_.run(item, chunk, continued(scratch_, chunk - from));
  }

  void add_what_others_found(const Item& item) const {
    const int index = cut(worker_.index + 1).item;
    for (int other = worker_.index + 1; other < worker_.count && cut(other).item == index; ++other) {
      const Scratch scratch = scratch_of(other);
      const int end = cut(other + 1).item == index ? cut(other + 1).chunk : item.range.chunks();
      for (int chunk = cut(other).chunk; chunk < end; ++chunk) {
        attending_.merge(continued(scratch, chunk - cut(other).chunk), scratch_.item);
      }
    }
  }

  // For everybody, when anybody has something for somebody.
  void wait() const {
    for (const Cut& each : cuts_) {
      if (each.chunk > 0) return worker_.wait();
    }
  }

  const Attention& task_;
  const Plan& plan_;
  const Worker& worker_;
  char* memories_;
  size_t memory_bytes_;
  Scratch scratch_;
  std::span<Cut> cuts_;
  Attending<type> attending_;
};

size_t memory_bytes_of(const Attention& task, const Plan& plan, int workers) {
  Layout measure(nullptr);
  lay_out(task, plan, workers, measure);
  return measure.bytes();
}

}  // namespace

size_t attention_work_bytes(const Attention& task, int workers) {
  size_t bytes = 0;
  for (int count = 1; count <= workers; ++count) {  // fewer may come, and have larger tiles
    Plan plan(task, count, nullptr);
    plan.choose_most_heads();
    bytes = std::max(bytes, plan.ranges_bytes() + static_cast<size_t>(count) * memory_bytes_of(task, plan, count));
  }
  return bytes;
}

void attend(const Attention& task, const Worker& worker, void* work) {
  Plan plan(task, worker.count, work);
  plan.find_ranges(worker);
  worker.wait();
  plan.choose_heads(worker.count);
  char* memories = static_cast<char*>(work) + plan.ranges_bytes();
  const size_t memory_bytes = memory_bytes_of(task, plan, worker.count);
  switch (task.type) {
    case KvType::f16:
      return Share<KvType::f16>(task, plan, worker, memories, memory_bytes).attend();
    case KvType::bf16:
      return Share<KvType::bf16>(task, plan, worker, memories, memory_bytes).attend();
    case KvType::f32:
      return Share<KvType::f32>(task, plan, worker, memories, memory_bytes).attend();
    case KvType::q8_0:
      return Share<KvType::q8_0>(task, plan, worker, memories, memory_bytes).attend();
  }
}

}  // namespace realm::kernels
