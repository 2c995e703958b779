// AMX: registers of tiles, and the products of whole numbers that one instruction makes of two of them.
#pragma once

#include <cstdint>

#include "kernels/sets/lanes.h"

namespace realm::kernels {
namespace {

#ifdef __AMX_INT8__
static_assert(lanes == 16);
constexpr int tile_rows = 16;
constexpr int tile_row_bytes = 64;

// As the processor reads it from memory.
struct alignas(64) TileShapes {
  uint8_t palette = 0;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

// Two sets of tiles, used in turn so that no product waits for the one before it: sums for one half of a block and for the other, the
// activations of tile_rows columns, the weights of as many rows, each vector with four values of every row.
constexpr int tile_sets = 2;
constexpr int sum_tile(int set, int half) { return set * 2 + half; }
constexpr int activations_tile(int set) { return 4 + set; }
constexpr int weights_tile(int set) { return 6 + set; }

// The shapes, for so many values, hold until the end of the scope: what this thread used before, such as ggml's own, is there again
// afterwards. None for 0.
class UseTiles {
 public:
  explicit UseTiles(int values) : used_(values > 0) {
    if (!used_) return;
    __asm__ volatile("sttilecfg %0" : "=m"(before_));
    TileShapes shapes;
    shapes.palette = 1;
    const auto shape = [&](int tile, int rows, int row_bytes) {
      shapes.rows[tile] = static_cast<uint8_t>(rows);
      shapes.row_bytes[tile] = static_cast<uint16_t>(row_bytes);
    };
    for (int set = 0; set < tile_sets; ++set) {
      for (const int half : {0, 1}) shape(sum_tile(set, half), tile_rows, tile_row_bytes);
      shape(activations_tile(set), tile_rows, values);
      shape(weights_tile(set), values / 4, tile_row_bytes);
    }
    load(shapes);
  }
  ~UseTiles() {
    if (used_) load(before_);
  }
  UseTiles(const UseTiles&) = delete;
  UseTiles& operator=(const UseTiles&) = delete;

 private:
  static void load(const TileShapes& shapes) { __asm__ volatile("ldtilecfg %0" ::"m"(shapes)); }

  bool used_;
  TileShapes before_;
};

// The products of tile_rows columns with a block of weights, into `to`: [column][row]. In assembly, because the compilers' own functions
// do not say that a tile is loaded from memory.
template <int set, int half>
REALM_INLINE void multiply_tile(const int8_t* activations, size_t column_step, const void* weights, void* to) {
  __asm__ volatile(
      "tileloadd (%2,%1,1), %%tmm%c7\n\t"
      "tileloadd (%3,%4,1), %%tmm%c6\n\t"
      "tilezero %%tmm%c5\n\t"
      "tdpbssd %%tmm%c7, %%tmm%c6, %%tmm%c5\n\t"
      "tilestored %%tmm%c5, (%0,%1,1)"
      :
      : "r"(to), "r"(size_t{tile_row_bytes}), "r"(weights), "r"(activations), "r"(column_step), "i"(sum_tile(set, half)),
        "i"(activations_tile(set)), "i"(weights_tile(set))
      : "memory");
}
#else
class UseTiles {
 public:
  explicit UseTiles(int) {}
  ~UseTiles() {}
};
#endif

}  // namespace
}  // namespace realm::kernels
