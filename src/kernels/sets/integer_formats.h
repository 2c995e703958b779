// Packed forms of weights. A panel has as many rows as a vector has lanes and is a sequence of blocks of weight_block values of each row.
// Values are kept as whole numbers without a sign, four of a row side by side, so that one vector holds four values of every row. Nothing
// is rounded: each form has the numbers of the ggml type that it is made of. Where ggml has several of our blocks in one of its own, what
// these share lies before them, in a header.
#pragma once

#include <utility>

#include "kernels/multiplication.h"
#include "kernels/sets/integers.h"

namespace realm::kernels {
namespace {

constexpr int vector_bytes = lanes * 4;
constexpr int halves_bytes = lanes * 2;

// What the values of a row stand for: scale * (value - offset) + minimum, of which a format has an offset, the same for all, or a minimum.
// The scale may differ between the first and the last sixteen.
struct Meaning {
  Floats scale[2];
  Floats minimum;
};

// Four bits of each value: 0 to 15 of the block in the low halves, 16 to 31 in the high ones.
void pack_nibbles(const uint8_t (&values)[weight_block], int row, char* to) {
  for (int i = 0; i < 16; ++i) {
    to[(i / 4 * lanes + row) * 4 + i % 4] = static_cast<char>((values[i] & 15) | (values[i + 16] & 15) << 4);
  }
}

// The fifth bit of each: bit g of byte j is that of value 4g + j.
void pack_fifth_bits(const uint8_t (&values)[weight_block], int row, char* to) {
  for (int j = 0; j < 4; ++j) {
    int bits = 0;
    for (int g = 0; g < 8; ++g) bits |= (values[4 * g + j] >> 4 & 1) << g;
    to[row * 4 + j] = static_cast<char>(bits);
  }
}

template <int bit>
REALM_INLINE Bytes fifth_bit(Bytes bits) {
  const Shorts shorts = reinterpret_cast<Shorts>(bits);
  return reinterpret_cast<Bytes>(bit < 4 ? shorts << (4 - bit) : shorts >> (bit - 4)) & 16;
}

// Scale and values of ggml's blocks of 32 with four or five bits, their halves at the block's begin.
template <bool has_minimum, bool has_fifth>
struct Plain {
  static constexpr int source_values = 32;
  static constexpr int panel_rows = lanes;
  static constexpr size_t source_bytes = 2 + (has_minimum ? 2 : 0) + (has_fifth ? 4 : 0) + 16;
  static constexpr size_t header_bytes = 0;
  static constexpr int halves = has_minimum ? 2 : 1;
  static constexpr int bits_at = halves * halves_bytes;
  static constexpr int nibbles_at = bits_at + (has_fifth ? vector_bytes : 0);
  static constexpr size_t block_bytes = nibbles_at + 4 * vector_bytes;
  static constexpr bool two_scales = false;
  static constexpr bool needs_minimum = has_minimum;
  static constexpr int offset = has_minimum ? 0 : has_fifth ? 16 : 8;
  using Sum = ProductSum<has_fifth ? 31 : 15>;

  static void pack(const char* source, int, int row, char*, char* to) {
    for (int i = 0; i < halves; ++i) std::memcpy(to + i * halves_bytes + row * 2, source + i * 2, 2);
    const char* fifth = source + halves * 2;
    const auto* nibbles = reinterpret_cast<const uint8_t*>(fifth + (has_fifth ? 4 : 0));
    uint8_t values[weight_block];
    for (int i = 0; i < 16; ++i) {
      values[i] = nibbles[i] & 15;
      values[i + 16] = nibbles[i] >> 4;
    }
    if constexpr (has_fifth) {
      uint32_t bits;
      std::memcpy(&bits, fifth, sizeof(bits));
      for (int i = 0; i < weight_block; ++i) values[i] = static_cast<uint8_t>(values[i] | (bits >> i & 1) << 4);
      pack_fifth_bits(values, row, to + bits_at);
    }
    pack_nibbles(values, row, to + nibbles_at);
  }

  template <int i>
  REALM_INLINE std::pair<Bytes, Bytes> values(const char* block) {
    const Bytes both = load_bytes_of_rows(block + nibbles_at + i * vector_bytes);
    if constexpr (!has_fifth) return {low_halves(both), high_halves(both)};
    const Bytes bits = load_bytes_of_rows(block + bits_at);
    return {low_halves(both) | fifth_bit<i>(bits), high_halves(both) | fifth_bit<i + 4>(bits)};
  }

  REALM_INLINE Meaning meaning(const char*, const char* block) {
    const Floats scale = load_halves(block);
    if constexpr (has_minimum) return {{scale, scale}, load_halves(block + halves_bytes)};
    return {{scale, scale}, zeros()};
  }
};

using Q4_0 = Plain<false, false>;
using Q4_1 = Plain<true, false>;
using Q5_0 = Plain<false, true>;
using Q5_1 = Plain<true, true>;

struct Q8_0 {
  static constexpr int source_values = 32;
  static constexpr int panel_rows = lanes;
  static constexpr size_t source_bytes = 34;
  static constexpr size_t header_bytes = 0;
  static constexpr size_t block_bytes = halves_bytes + 8 * vector_bytes;
  static constexpr bool two_scales = false;
  static constexpr bool needs_minimum = false;
  using Sum = SignedProductSum;
  static constexpr int offset = Sum::offset;

  static void pack(const char* source, int, int row, char*, char* to) {
    std::memcpy(to + row * 2, source, 2);
    for (int i = 0; i < weight_block; ++i) {
      to[halves_bytes + (i / 4 * lanes + row) * 4 + i % 4] = static_cast<char>(source[2 + i] + offset);
    }
  }

  template <int i>
  REALM_INLINE std::pair<Bytes, Bytes> values(const char* block) {
    return {load_bytes_of_rows(block + halves_bytes + i * vector_bytes), load_bytes_of_rows(block + halves_bytes + (i + 4) * vector_bytes)};
  }

  REALM_INLINE Meaning meaning(const char*, const char* block) {
    const Floats scale = load_halves(block);
    return {{scale, scale}, zeros()};
  }
};

// ggml's Q6_K: blocks of 256 with one half, and a whole number for each sixteen values that multiplies it.
struct Q6_K {
  static constexpr int source_values = 256;
  static constexpr int panel_rows = lanes;
  static constexpr size_t source_bytes = 210;
  static constexpr size_t header_bytes = halves_bytes;
  static constexpr int numbers_at = 0;
  static constexpr int bits_at = numbers_at + 2 * lanes;
  static constexpr int nibbles_at = bits_at + 2 * vector_bytes;
  static constexpr size_t block_bytes = nibbles_at + 4 * vector_bytes;
  static constexpr bool two_scales = true;
  static constexpr bool needs_minimum = false;
  static constexpr int offset = 32;
  using Sum = ProductSum<63>;

  static void pack(const char* source, int block, int row, char* header, char* to) {
    std::memcpy(header + row * 2, source + 208, 2);
    to[numbers_at + row] = source[192 + block * 2];
    to[numbers_at + lanes + row] = source[192 + block * 2 + 1];
    // Half a source block has 128 values: 64 bytes with their low bits, 32 with their high ones.
    const auto* low = reinterpret_cast<const uint8_t*>(source) + block / 4 * 64 + block % 2 * 32;
    const auto* high = reinterpret_cast<const uint8_t*>(source) + 128 + block / 4 * 32;
    uint8_t values[weight_block];
    for (int i = 0; i < weight_block; ++i) {
      values[i] = static_cast<uint8_t>((block % 4 < 2 ? low[i] & 15 : low[i] >> 4) | (high[i] >> (block % 4 * 2) & 3) << 4);
    }
    pack_nibbles(values, row, to + nibbles_at);
    // Bits 2g and 2g + 1 of byte j are those of value 4g + j, in one vector for the first sixteen values and one for the last.
    for (int i = 0; i < 8; ++i) {
      int bits = 0;
      for (int g = 0; g < 4; ++g) bits |= values[i / 4 * 16 + 4 * g + i % 4] >> 4 << (2 * g);
      to[bits_at + i / 4 * vector_bytes + row * 4 + i % 4] = static_cast<char>(bits);
    }
  }

  template <int i>
  REALM_INLINE Bytes high_bits(Bytes bits) {
    const Shorts shorts = reinterpret_cast<Shorts>(bits);
    return reinterpret_cast<Bytes>(i < 2 ? shorts << (4 - 2 * i) : shorts >> (2 * i - 4)) & 48;
  }

  template <int i>
  REALM_INLINE std::pair<Bytes, Bytes> values(const char* block) {
    const Bytes both = load_bytes_of_rows(block + nibbles_at + i * vector_bytes);
    return {low_halves(both) | high_bits<i>(load_bytes_of_rows(block + bits_at)),
            high_halves(both) | high_bits<i>(load_bytes_of_rows(block + bits_at + vector_bytes))};
  }

  REALM_INLINE Meaning meaning(const char* header, const char* block) {
    const Floats scale = load_halves(header);
    return {{scale * load_bytes(block + numbers_at), scale * load_bytes(block + numbers_at + lanes)}, zeros()};
  }
};

// ggml's Q4_K and Q5_K: blocks of 256 with two halves, and whole numbers for each 32 values that multiply them.
template <bool has_fifth>
struct TwoLevels {
  static constexpr int source_values = 256;
  static constexpr int panel_rows = lanes;
  static constexpr size_t source_bytes = 16 + (has_fifth ? 32 : 0) + 128;
  static constexpr size_t header_bytes = 2 * halves_bytes;
  static constexpr int bits_at = 2 * lanes;  // behind the numbers
  static constexpr int nibbles_at = bits_at + (has_fifth ? vector_bytes : 0);
  static constexpr size_t block_bytes = nibbles_at + 4 * vector_bytes;
  static constexpr bool two_scales = false;
  static constexpr bool needs_minimum = true;
  static constexpr int offset = 0;
  using Sum = ProductSum<has_fifth ? 31 : 15>;

  static void pack(const char* source, int block, int row, char* header, char* to) {
    std::memcpy(header + row * 2, source, 2);
    std::memcpy(header + halves_bytes + row * 2, source + 2, 2);
    // Six bits for each number; the last four blocks have theirs in pieces.
    const auto* six = reinterpret_cast<const uint8_t*>(source) + 4;
    const int scale = block < 4 ? six[block] & 63 : (six[block + 4] & 15) | six[block - 4] >> 6 << 4;
    const int minimum = block < 4 ? six[block + 4] & 63 : six[block + 4] >> 4 | six[block] >> 6 << 4;
    to[row] = static_cast<char>(scale);
    to[lanes + row] = static_cast<char>(minimum);
    const auto* high = reinterpret_cast<const uint8_t*>(source) + 16;
    const auto* low = high + (has_fifth ? 32 : 0) + block / 2 * 32;
    uint8_t values[weight_block];
    for (int i = 0; i < weight_block; ++i) {
      values[i] = static_cast<uint8_t>(block % 2 == 0 ? low[i] & 15 : low[i] >> 4);
      if constexpr (has_fifth) values[i] = static_cast<uint8_t>(values[i] | (high[i] >> block & 1) << 4);
    }
    if constexpr (has_fifth) pack_fifth_bits(values, row, to + bits_at);
    pack_nibbles(values, row, to + nibbles_at);
  }

  template <int i>
  REALM_INLINE std::pair<Bytes, Bytes> values(const char* block) {
    const Bytes both = load_bytes_of_rows(block + nibbles_at + i * vector_bytes);
    if constexpr (!has_fifth) return {low_halves(both), high_halves(both)};
    const Bytes bits = load_bytes_of_rows(block + bits_at);
    return {low_halves(both) | fifth_bit<i>(bits), high_halves(both) | fifth_bit<i + 4>(bits)};
  }

  REALM_INLINE Meaning meaning(const char* header, const char* block) {
    const Floats scale = load_halves(header) * load_bytes(block);
    return {{scale, scale}, -load_halves(header + halves_bytes) * load_bytes(block + lanes)};
  }
};

using Q4_K = TwoLevels<false>;
using Q5_K = TwoLevels<true>;

}  // namespace
}  // namespace realm::kernels
