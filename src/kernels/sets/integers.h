// Sums of products of small integers: weights without a sign with activations that have one, each lane a row of weights.
#pragma once

#include <utility>

#include "kernels/sets/lanes.h"

namespace realm::kernels {
namespace {

typedef uint8_t Bytes __attribute__((vector_size(lanes * 4)));
typedef int16_t Shorts __attribute__((vector_size(lanes * 4)));

REALM_INLINE Bytes load_bytes_of_rows(const char* from) {
  Bytes value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

// The compiler works out `value` here and keeps it in a register. Left alone, GCC puts off the sums of products until it has to keep the
// products in memory.
template <typename Vector>
REALM_INLINE void keep(Vector& value) {
#ifdef __AVX512F__
  __asm__("" : "+v"(value));
#else
  if constexpr (sizeof(Vector) <= 32) __asm__("" : "+x"(value));
#endif
}

REALM_INLINE Bytes low_halves(Bytes value) { return value & 15; }
REALM_INLINE Bytes high_halves(Bytes value) { return reinterpret_cast<Bytes>(reinterpret_cast<Shorts>(value) >> 4) & 15; }

// The same four for each row.
REALM_INLINE Bytes spread_four(const int8_t* four) {
  int32_t value;
  std::memcpy(&value, four, sizeof(value));
  return reinterpret_cast<Bytes>(value - Ints{});
}

// A block of whole numbers of -127 to 127 as bytes. Returns the sums of its halves. Other numbers, of activations that are none, become
// any of these.
constexpr int block_vectors = 32 / lanes;
#if REALM_LANES == 8
REALM_INLINE std::pair<int, int> store_narrow(const Ints (&whole)[block_vectors], int8_t* to) {
  const auto of = [&](int i) { return reinterpret_cast<__m256i>(whole[i]); };
  // Packing takes the halves of vectors in turn: the order is put right at the end.
  const __m256i first = _mm256_packs_epi32(of(0), of(1)), last = _mm256_packs_epi32(of(2), of(3));
  const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(first, last), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i fours = _mm256_hadd_epi32(_mm256_madd_epi16(first, ones), _mm256_madd_epi16(last, ones));
  const __m128i twos = _mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
  const __m128i sums = _mm_hadd_epi32(twos, twos);
  return {_mm_cvtsi128_si32(sums), _mm_extract_epi32(sums, 1)};
}
#else
REALM_INLINE std::pair<int, int> store_narrow(const Ints (&whole)[block_vectors], int8_t* to) {
  Ints totals[2]{};
  for (int i = 0; i < block_vectors; ++i) {
    typedef int8_t Narrow __attribute__((vector_size(lanes)));
    const Narrow narrow = __builtin_convertvector(whole[i], Narrow);
    std::memcpy(to + i * lanes, &narrow, sizeof(narrow));
    totals[i * 2 / block_vectors] += __builtin_convertvector(narrow, Ints);
  }
  return {static_cast<int>(sum(__builtin_convertvector(totals[0], Floats))),
          static_cast<int>(sum(__builtin_convertvector(totals[1], Floats)))};
}
#endif

#if REALM_LANES == 8
REALM_INLINE Shorts pair_products(Bytes weights, Bytes activations) {
  return reinterpret_cast<Shorts>(_mm256_maddubs_epi16(reinterpret_cast<__m256i>(weights), reinterpret_cast<__m256i>(activations)));
}
REALM_INLINE Ints pair_sums(Shorts value) {
  return reinterpret_cast<Ints>(_mm256_madd_epi16(reinterpret_cast<__m256i>(value), _mm256_set1_epi16(1)));
}
#elif !defined(__AVX512VNNI__)
REALM_INLINE Shorts pair_products(Bytes weights, Bytes activations) {
  __m256i a[2], b[2];
  std::memcpy(a, &weights, sizeof(a));
  std::memcpy(b, &activations, sizeof(b));
  for (int i = 0; i < 2; ++i) a[i] = _mm256_maddubs_epi16(a[i], b[i]);
  Shorts result;
  std::memcpy(&result, a, sizeof(result));
  return result;
}
REALM_INLINE Ints pair_sums(Shorts value) {
  __m256i parts[2];
  std::memcpy(parts, &value, sizeof(parts));
  for (__m256i& part : parts) part = _mm256_madd_epi16(part, _mm256_set1_epi16(1));
  Ints result;
  std::memcpy(&result, parts, sizeof(result));
  return result;
}
#endif

#ifdef __AVX512VNNI__
// A sum of products of four weights, none above `weight_max`, with four activations of -127 to 127, and of what it begins with. That is
// told twice, and counts once: where it costs nothing.
template <int weight_max>
class ProductSum {
 public:
  REALM_INLINE_MEMBER void begin(int32_t with) { sum_ = with - Ints{}; }
  REALM_INLINE_MEMBER void add(Bytes weights, Bytes activations) {
    sum_ = reinterpret_cast<Ints>(
        _mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum_), reinterpret_cast<__m512i>(weights), reinterpret_cast<__m512i>(activations)));
  }
  REALM_INLINE_MEMBER Ints total() const { return sum_; }
  REALM_INLINE_MEMBER Ints total(int32_t) const { return sum_; }

 private:
  Ints sum_{};
};

// The same for weights of -127 to 127, which are kept with an offset.
class SignedProductSum : public ProductSum<255> {
 public:
  static constexpr int offset = 128;
};
#else
// A sum of products of four weights, none above `weight_max`, with four activations of -127 to 127, and of what it begins with. That is
// told twice, and counts once: where it costs nothing. As many products as fit are summed in 16 bits.
template <int weight_max>
class ProductSum {
 public:
  REALM_INLINE_MEMBER void begin(int32_t) {}
  REALM_INLINE_MEMBER void add(Bytes weights, Bytes activations) {
    if (pending_ == pending_max) {
      wide_ += pair_sums(narrow_);
      narrow_ = Shorts{};
      pending_ = 0;
    }
    narrow_ += pair_products(weights, activations);
    keep(narrow_);
    ++pending_;
  }
  REALM_INLINE_MEMBER Ints total() const { return wide_ + pair_sums(narrow_); }
  REALM_INLINE_MEMBER Ints total(int32_t begin) const { return total() + (begin - Ints{}); }

 private:
  static constexpr int pending_max = INT16_MAX / (weight_max * 127 * 2);
  static_assert(pending_max > 0);
  Shorts narrow_{};
  Ints wide_{};
  int pending_ = 0;  // known when the loops around are unrolled
};

// The same for weights of -127 to 127.
class SignedProductSum {
 public:
  static constexpr int offset = 0;

  REALM_INLINE_MEMBER void add(Bytes weights, Bytes activations) {
#if REALM_LANES == 8
    const Bytes sizes = reinterpret_cast<Bytes>(_mm256_abs_epi8(reinterpret_cast<__m256i>(weights)));
    const Bytes signed_ones =
        reinterpret_cast<Bytes>(_mm256_sign_epi8(reinterpret_cast<__m256i>(activations), reinterpret_cast<__m256i>(weights)));
#else
    typedef int8_t Signed __attribute__((vector_size(lanes * 4)));
    const auto negative = reinterpret_cast<Signed>(weights) < 0;
    const Bytes sizes = reinterpret_cast<Bytes>(negative ? -reinterpret_cast<Signed>(weights) : reinterpret_cast<Signed>(weights));
    const Bytes signed_ones =
        reinterpret_cast<Bytes>(negative ? -reinterpret_cast<Signed>(activations) : reinterpret_cast<Signed>(activations));
#endif
    sum_ += pair_sums(pair_products(sizes, signed_ones));
    keep(sum_);
  }
  REALM_INLINE_MEMBER Ints total() const { return sum_; }

 private:
  Ints sum_{};
};
#endif

}  // namespace
}  // namespace realm::kernels
