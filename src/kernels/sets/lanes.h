// Vectors of the width that this set is built for. Wider ones than the processor's own work too: the tests do that.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#ifndef REALM_LANES
#ifdef __AVX512F__
#define REALM_LANES 16
#else
#define REALM_LANES 8
#endif
#endif

#define REALM_INLINE static inline __attribute__((always_inline))
#define REALM_INLINE_MEMBER inline __attribute__((always_inline))

namespace realm::kernels {
namespace {

constexpr int lanes = REALM_LANES;
#ifdef __AVX512F__
constexpr int registers = 32;
#else
constexpr int registers = REALM_LANES == 8 ? 16 : 8;  // of this width
#endif
typedef float Floats __attribute__((vector_size(lanes * 4)));
typedef int32_t Ints __attribute__((vector_size(lanes * 4)));
typedef float LooseFloats __attribute__((vector_size(lanes * 4), aligned(4), may_alias));

constexpr size_t round_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

constexpr float infinity = std::numeric_limits<float>::infinity();

REALM_INLINE Floats load(const float* from) { return *reinterpret_cast<const LooseFloats*>(from); }
REALM_INLINE void store(float* to, Floats value) { *reinterpret_cast<LooseFloats*>(to) = value; }
REALM_INLINE Floats spread(float value) { return value - Floats{}; }
REALM_INLINE Floats zeros() { return Floats{}; }

REALM_INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }

// From and to halves, as processors with F16C have them.
REALM_INLINE float half_to_float(uint16_t half) { return _cvtsh_ss(half); }

REALM_INLINE Floats load_halves(const void* from) {
#if REALM_LANES == 8
  return reinterpret_cast<Floats>(_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(from))));
#elif defined(__AVX512F__)
  // The masked form, because GCC 12 takes the plain one's undefined source for a variable that nobody has set.
  return reinterpret_cast<Floats>(_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(static_cast<const __m256i*>(from))));
#else
  const __m256 parts[2] = {_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(from))),
                           _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(from) + 1))};
  Floats result;
  std::memcpy(&result, parts, sizeof(result));
  return result;
#endif
}

REALM_INLINE Floats load_bfloats(const void* from) {
  typedef uint16_t Shorts __attribute__((vector_size(lanes * 2)));
  Shorts bits;
  std::memcpy(&bits, from, sizeof(bits));
  return reinterpret_cast<Floats>(__builtin_convertvector(bits, Ints) << 16);
}

REALM_INLINE Floats load_bytes(const void* from) {
  typedef int8_t Bytes __attribute__((vector_size(lanes)));
  Bytes bytes;
  std::memcpy(&bytes, from, sizeof(bytes));
  return __builtin_convertvector(__builtin_convertvector(bytes, Ints), Floats);
}

REALM_INLINE __m256 fold_to_eight(Floats value) {
#if REALM_LANES == 8
  return reinterpret_cast<__m256>(value);
#else
  __m256 parts[2];
  std::memcpy(parts, &value, sizeof(value));
  return _mm256_add_ps(parts[0], parts[1]);
#endif
}

// The sums of eight vectors' elements.
REALM_INLINE __m256 sums_of_eight(const Floats* of) {
  const __m256 ab = _mm256_hadd_ps(fold_to_eight(of[0]), fold_to_eight(of[1]));
  const __m256 cd = _mm256_hadd_ps(fold_to_eight(of[2]), fold_to_eight(of[3]));
  const __m256 ef = _mm256_hadd_ps(fold_to_eight(of[4]), fold_to_eight(of[5]));
  const __m256 gh = _mm256_hadd_ps(fold_to_eight(of[6]), fold_to_eight(of[7]));
  const __m256 abcd = _mm256_hadd_ps(ab, cd);
  const __m256 efgh = _mm256_hadd_ps(ef, gh);
  return _mm256_add_ps(_mm256_permute2f128_ps(abcd, efgh, 0x20), _mm256_permute2f128_ps(abcd, efgh, 0x31));
}

REALM_INLINE float sum(Floats value) {
  const __m256 eight = fold_to_eight(value);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

REALM_INLINE float largest(Floats value) {
#if REALM_LANES == 8
  const __m256 eight = reinterpret_cast<__m256>(value);
#else
  __m256 parts[2];
  std::memcpy(parts, &value, sizeof(value));
  const __m256 eight = _mm256_max_ps(parts[0], parts[1]);
#endif
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// e to the power of each, within 2 units of the last place; 0 below -87. Coefficients: Cephes, expf.
REALM_INLINE Floats exponential(Floats x) {
  constexpr float log2_e = 1.44269504088896341f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  constexpr float rounding = 12582912.0f;  // adding 1.5 * 2^23 leaves the nearest whole number in the low bits
  const Floats low = spread(-87.0f), high = spread(88.0f);
  const Floats clamped = larger(low, x < high ? x : high);
  const Floats shifted = clamped * log2_e + rounding;
  const Floats whole = shifted - rounding;
  Floats r = clamped - whole * ln2_high;
  r = r - whole * ln2_low;
  Floats p = spread(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const Ints power = (reinterpret_cast<Ints>(shifted) - 0x4b400000 + 127) << 23;
  const Floats result = p * reinterpret_cast<Floats>(power);
  return x < low ? zeros() : result;
}

REALM_INLINE Floats hyperbolic_tangent(Floats x) { return 1.0f - 2.0f / (exponential(x + x) + 1.0f); }

}  // namespace
}  // namespace realm::kernels
