#include "engine/logit_row.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace realm::engine {
namespace {

// Eight floats by the compiler's vector extension: one AVX2 register, or two of the x86-64 baseline or NEON, with the same result.
// Passed by reference, because by value they would have another calling convention in each of the two builds below.
using Lanes = float __attribute__((vector_size(32)));
using IntLanes = int32_t __attribute__((vector_size(32)));
constexpr size_t lanes = 8;
constexpr size_t lanes_per_block = logit_block / lanes;

#define REALM_INLINE [[gnu::always_inline]] inline

REALM_INLINE void load(Lanes& to, const float* from) { std::memcpy(&to, from, sizeof to); }

// A comparison with NaN is false, so that a NaN in `value` never wins.
REALM_INLINE void keep_larger(Lanes& largest, const Lanes& value) { largest = value > largest ? value : largest; }

REALM_INLINE float maximum_of_block(const float* block) {
  Lanes a = Lanes{} + minus_infinity;
  Lanes b = a;
  for (size_t i = 0; i < lanes_per_block; i += 2) {
    Lanes value;
    load(value, block + i * lanes);
    keep_larger(a, value);
    load(value, block + (i + 1) * lanes);
    keep_larger(b, value);
  }
  keep_larger(a, b);
  float result = a[0];
  for (size_t i = 1; i < lanes; ++i) result = a[i] > result ? a[i] : result;
  return result;
}

// e^x for x <= 0 by the Cephes polynomial: 2^n * e^r with |r| <= ln(2)/2. Below `floor`, and for NaN, zero.
REALM_INLINE void exponential(Lanes& x, Lanes& result) {
  constexpr float floor = -87.0f;
  constexpr float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const IntLanes counts = x > floor;
  x = counts ? x : Lanes{} + floor;
  const Lanes shifted = x * 1.44269504088896341f + round;
  const Lanes n = shifted - round;
  const Lanes r = x - n * 0.693359375f - n * -2.12194440e-4f;
  Lanes y = Lanes{} + 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  IntLanes bits;
  IntLanes exponent;
  std::memcpy(&bits, &y, sizeof bits);
  std::memcpy(&exponent, &shifted, sizeof exponent);
  bits = (bits + (exponent << 23)) & counts;  // the high bits of `round` are shifted out
  std::memcpy(&result, &bits, sizeof result);
}

REALM_INLINE float sum(const Lanes& v) { return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7])); }

REALM_INLINE void mass_of_block(const float* block, float largest, float scale, float& mass, float& weighted) {
  Lanes masses{};
  Lanes weights{};
  for (size_t i = 0; i < lanes_per_block; ++i) {
    Lanes x;
    Lanes e;
    load(x, block + i * lanes);
    x = (x - largest) * scale;
    exponential(x, e);
    masses += e;
    weights += x * e;
  }
  mass = sum(masses);
  weighted = sum(weights);
}

REALM_INLINE void maxima_of_blocks(const float* row, size_t blocks, float* maxima) {
  for (size_t b = 0; b < blocks; ++b) maxima[b] = maximum_of_block(row + b * logit_block);
}

REALM_INLINE RowMass masses_of_blocks(const float* row, size_t blocks, float largest, float scale, float* masses) {
  RowMass total;
  for (size_t b = 0; b < blocks; ++b) {
    float weighted = 0;
    mass_of_block(row + b * logit_block, largest, scale, masses[b], weighted);
    total.mass += masses[b];
    total.weighted += weighted;
  }
  return total;
}

#if defined(__x86_64__)
// The same two loops once more for AVX2, chosen at run time. Without FMA, whose rounding differs.
[[gnu::target("avx2")]] void maxima_of_blocks_avx2(const float* row, size_t blocks, float* maxima) {
  maxima_of_blocks(row, blocks, maxima);
}
[[gnu::target("avx2")]] RowMass masses_of_blocks_avx2(const float* row, size_t blocks, float largest, float scale, float* masses) {
  return masses_of_blocks(row, blocks, largest, scale, masses);
}
bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}
#endif

size_t block_count(size_t size) { return (size + logit_block - 1) / logit_block; }

// The last block of a row whose size is not a multiple, filled up with values that count for nothing.
std::array<float, logit_block> padded_block(std::span<const float> row, size_t block) {
  std::array<float, logit_block> padded;
  padded.fill(minus_infinity);
  std::ranges::copy(row.subspan(block * logit_block, std::min(logit_block, row.size() - block * logit_block)), padded.begin());
  return padded;
}

}  // namespace

float block_maxima(std::span<const float> row, std::vector<float>& maxima) {
  const size_t whole = row.size() / logit_block;
  maxima.resize(block_count(row.size()));
#if defined(__x86_64__)
  const auto pass = has_avx2() ? maxima_of_blocks_avx2 : maxima_of_blocks;
  pass(row.data(), whole, maxima.data());
#else
  maxima_of_blocks(row.data(), whole, maxima.data());
#endif
  if (whole < maxima.size()) maxima[whole] = maximum_of_block(padded_block(row, whole).data());
  return maxima.empty() ? minus_infinity : *std::ranges::max_element(maxima);
}

int32_t first_token_of(std::span<const float> row, std::span<const float> maxima, float largest) {
  const auto block = static_cast<size_t>(std::ranges::find(maxima, largest) - maxima.begin());
  return static_cast<int32_t>(std::ranges::find(row.subspan(block * logit_block), largest) - row.begin());
}

RowMass block_masses(std::span<const float> row, float largest, float scale, std::vector<float>& masses) {
  const size_t whole = row.size() / logit_block;
  masses.resize(block_count(row.size()));
#if defined(__x86_64__)
  const auto pass = has_avx2() ? masses_of_blocks_avx2 : masses_of_blocks;
  RowMass total = pass(row.data(), whole, largest, scale, masses.data());
#else
  RowMass total = masses_of_blocks(row.data(), whole, largest, scale, masses.data());
#endif
  if (whole < masses.size()) {
    const RowMass last = masses_of_blocks(padded_block(row, whole).data(), 1, largest, scale, &masses[whole]);
    total.mass += last.mass;
    total.weighted += last.weighted;
  }
  return total;
}

int32_t token_at_mass(std::span<const float> row, float largest, float scale, std::span<const float> masses, double target) {
  size_t block = 0;
  size_t last_with_mass = 0;
  for (; block < masses.size(); ++block) {
    if (masses[block] > 0) last_with_mass = block;
    if (target < masses[block]) break;
    target -= masses[block];
  }
  // Rounding may leave a little of the target when the last block has passed.
  if (block == masses.size()) block = last_with_mass;
  const std::array<float, logit_block> values = padded_block(row, block);
  size_t token = 0;
  for (size_t i = 0; i < logit_block; ++i) {
    const float x = (values[i] - largest) * scale;
    if (!(x > -87.0f)) continue;
    token = block * logit_block + i;
    target -= std::exp(x);
    if (target < 0) break;
  }
  return static_cast<int32_t>(token);
}

}  // namespace realm::engine
