// Who computes which part of an attention. The work is a list of items, each one tile of queries (some tokens, all heads of a group or of
// all groups) against the positions that its mask lets it see, in chunks. Workers get equal shares of all chunks; an item may be cut
// between two chunks. What was found for the chunks of an item is always merged in their order, so the result does not depend on the cuts.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "kernels/kernel_set.h"
#include "kernels/sets/lanes.h"

namespace realm::kernels {
namespace {

constexpr int block_positions = 64;
// Rows of a tile, unless a group has more heads; fewer when there would be too few items for the workers.
constexpr int tile_rows_max = 96;
constexpr int tile_rows_min = 12;
constexpr int items_per_worker = 4;
// Only items with few rows are cut, because what was found for a piece is kept for each chunk.
constexpr int cut_rows_max = 16;
constexpr int chunk_positions = 256;
// Chunks that each worker must find for an item to have the heads of all groups. A single token's time is that of reading the cache, where
// the heads of a position lie side by side: read one head after the other, memory gives half of what it can.
constexpr int whole_chunks_per_worker = 2;
constexpr uint16_t masked_half = 0xfc00;  // minus infinity

struct Range {
  int32_t begin;
  int32_t end;

  int32_t chunks() const { return begin == end ? 0 : (end - 1) / chunk_positions - begin / chunk_positions + 1; }
  // Chunks begin at multiples of their length, wherever the range does.
  Range chunk(int32_t index) const {
    const int32_t at = (begin / chunk_positions + index) * chunk_positions;
    return {std::max(begin, at), std::min(end, at + chunk_positions)};
  }
};

// Where a worker's share begins; the next one's begin is its end.
struct Cut {
  int32_t item;
  int32_t chunk;
};

struct Item {
  int stream;
  int kv_head;   // the first
  int kv_heads;  // 1 or all
  int token;     // the tile's first
  int tokens;    // in the tile
  Range range;
};

const uint16_t* mask_row(const Attention& task, int stream, int token) {
  if (task.mask == nullptr) return nullptr;
  return reinterpret_cast<const uint16_t*>(task.mask + static_cast<size_t>(stream % task.mask_streams) * task.mask_stream_step +
                                           static_cast<size_t>(token) * task.mask_token_step);
}

class Plan {
 public:
  Plan(const Attention& task, int workers, void* work) : task_(task), ranges_(static_cast<Range*>(work)) {
    const auto set_tile_tokens = [this](int tokens) {
      tile_tokens_ = std::clamp(tokens, 1, task_.tokens);
      tiles_ = (task_.tokens + tile_tokens_ - 1) / tile_tokens_;
    };
    set_tile_tokens(tile_rows_max / group());
    while (rows_max() > tile_rows_min && tile_tokens_ > 1 && items() < workers * items_per_worker) set_tile_tokens((tile_tokens_ + 1) / 2);
  }

  int group() const { return task_.heads / task_.kv_heads; }
  int tile_tokens() const { return tile_tokens_; }
  int tiles() const { return tiles_; }
  int rows_max() const { return tile_tokens_ * group() * item_heads_; }
  // Of an item that may be cut: what a single token needs may always be.
  int cut_rows() const { return std::min(rows_max(), std::max(cut_rows_max, group() * item_heads_)); }
  int chunks_max() const { return task_.positions / chunk_positions + 1; }
  int items() const { return task_.streams * item_parts() * tiles(); }
  size_t ranges_bytes() const { return round_up(static_cast<size_t>(task_.streams * tiles()) * sizeof(Range)); }

  // Finds this worker's part of the ranges; all of them are there after the next barrier.
  void find_ranges(const Worker& worker) {
    const int count = task_.streams * tiles();
    for (int i = worker.index; i < count; i += worker.count) ranges_[i] = range_of(i / tiles(), i % tiles() * tile_tokens());
  }

  // How many heads of keys and values an item has; when all ranges are there, and before items are asked for.
  void choose_heads(int workers) {
    int chunks = 0;
    for (int i = 0; i < task_.streams * tiles(); ++i) chunks += ranges_[i].chunks();
    if (chunks >= workers * whole_chunks_per_worker) choose_most_heads();
  }
  // As many as choose_heads() ever takes.
  void choose_most_heads() {
    if (task_.tokens == 1 && task_.heads <= tile_rows_max) item_heads_ = task_.kv_heads;
  }

  Item item(int index) const {
    const int tile = index % tiles(), pair = index / tiles(), stream = pair / item_parts();
    const int token = tile * tile_tokens();
    return {.stream = stream,
            .kv_head = pair % item_parts() * item_heads_,
            .kv_heads = item_heads_,
            .token = token,
            .tokens = std::min(tile_tokens(), task_.tokens - token),
            .range = ranges_[stream * tiles() + tile]};
  }

  // Fills `cuts`, one more than there are workers.
  void cut(std::span<Cut> cuts) const {
    const int64_t workers = static_cast<int64_t>(cuts.size()) - 1;
    int64_t total = 0;
    for (int i = 0; i < items(); ++i) total += cost(item(i));
    std::fill(cuts.begin(), cuts.end(), Cut{items(), 0});
    int64_t before = 0;
    int64_t next = 0;
    for (int i = 0; i < items(); ++i) {
      const Item current = item(i);
      const int64_t after = before + cost(current);
      for (; next < workers && total * next / workers < after; ++next) {
        cuts[static_cast<size_t>(next)] = cut_at(i, current, total * next / workers - before);
      }
      before = after;
    }
  }

 private:
  static constexpr int item_positions = 16;

  int item_parts() const { return task_.kv_heads / item_heads_; }
  int64_t rows(const Item& item) const { return static_cast<int64_t>(item.tokens) * group() * item.kv_heads; }
  // In rows of positions; a few positions more for what an item costs besides.
  int64_t cost(const Item& item) const { return rows(item) * (item.range.end - item.range.begin + item_positions); }

  Cut cut_at(int index, const Item& item, int64_t offset) const {
    if (rows(item) > cut_rows()) return offset * 2 < cost(item) ? Cut{index, 0} : Cut{index + 1, 0};
    const auto chunk = static_cast<int32_t>((offset / rows(item) + chunk_positions / 2) / chunk_positions);
    return chunk < item.range.chunks() ? Cut{index, chunk} : Cut{index + 1, 0};
  }

  Range range_of(int stream, int token) const {
    if (task_.mask == nullptr) return {0, task_.positions};
    Range range{task_.positions, 0};
    for (int i = token; i < std::min(token + tile_tokens(), task_.tokens); ++i) {
      const uint16_t* row = mask_row(task_, stream, i);
      int32_t end = task_.positions;
      while (end > range.end && all_masked(row, std::max(end - block_positions, range.end), end)) end -= block_positions;
      while (end > range.end && row[end - 1] == masked_half) --end;
      range.end = std::max(range.end, end);
      int32_t begin = 0;
      while (begin < range.begin && all_masked(row, begin, std::min(begin + block_positions, range.begin))) begin += block_positions;
      while (begin < range.begin && row[begin] == masked_half) ++begin;
      range.begin = std::min(range.begin, begin);
    }
    return range.begin < range.end ? range : Range{0, 0};
  }

  static bool all_masked(const uint16_t* row, int32_t begin, int32_t end) {
    uint16_t differences = 0;
    for (int32_t i = begin; i < end; ++i) differences = static_cast<uint16_t>(differences | (row[i] ^ masked_half));
    return differences == 0;
  }

  const Attention& task_;
  Range* ranges_;
  int tile_tokens_ = 1;
  int tiles_ = 1;
  int item_heads_ = 1;  // of keys and values
};

}  // namespace
}  // namespace realm::kernels
