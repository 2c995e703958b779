// Sums of products of small integers: weights without a sign with activations that have one, each lane a row of weights.
#pragma once

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

REALM_INLINE Bytes low_halves(Bytes value) { return value & 15; }
REALM_INLINE Bytes high_halves(Bytes value) { return reinterpret_cast<Bytes>(reinterpret_cast<Shorts>(value) >> 4) & 15; }

// The same four for each row.
REALM_INLINE Bytes spread_four(const int8_t* four) {
  int32_t value;
  std::memcpy(&value, four, sizeof(value));
  return reinterpret_cast<Bytes>(value - Ints{});
}

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
// A sum of products of four weights, none above `weight_max`, with four activations of -127 to 127.
template <int weight_max>
class ProductSum {
 public:
  REALM_INLINE_MEMBER void begin(Ints sum) { sum_ = sum; }
  REALM_INLINE_MEMBER void add(Bytes weights, Bytes activations) {
    sum_ = reinterpret_cast<Ints>(
        _mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum_), reinterpret_cast<__m512i>(weights), reinterpret_cast<__m512i>(activations)));
  }
  REALM_INLINE_MEMBER Ints total() const { return sum_; }

 private:
  Ints sum_{};
};

// The same for weights of -127 to 127, which are kept with an offset.
class SignedProductSum : public ProductSum<255> {
 public:
  static constexpr int offset = 128;
};
#else
// A sum of products of four weights, none above `weight_max`, with four activations of -127 to 127. As many as fit are summed in 16 bits.
template <int weight_max>
class ProductSum {
 public:
  REALM_INLINE_MEMBER void begin(Ints sum) { wide_ = sum; }
  REALM_INLINE_MEMBER void add(Bytes weights, Bytes activations) {
    if (pending_ == pending_max) {
      wide_ += pair_sums(narrow_);
      narrow_ = Shorts{};
      pending_ = 0;
    }
    narrow_ += pair_products(weights, activations);
    ++pending_;
  }
  REALM_INLINE_MEMBER Ints total() const { return wide_ + pair_sums(narrow_); }

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

  REALM_INLINE_MEMBER void begin(Ints sum) { sum_ = sum; }
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
  }
  REALM_INLINE_MEMBER Ints total() const { return sum_; }

 private:
  Ints sum_{};
};
#endif

}  // namespace
}  // namespace realm::kernels
