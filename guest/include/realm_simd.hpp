// Four floats at a time, for programs that compute themselves: compile with -msimd128. Header only.
#pragma once

#include <cstdint>
#include <cstring>

namespace realm {

typedef float Lanes __attribute__((vector_size(16)));
typedef int32_t Ints __attribute__((vector_size(16)));

inline Lanes load(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

inline void store(float* to, Lanes lanes) { std::memcpy(to, &lanes, sizeof lanes); }

// e to the power of each, at least -87 and at most 88, by Cephes' polynomial.
inline Lanes exponential(Lanes x) {
  constexpr float rounding = 12582912.0f;  // leaves a whole number
  x = x < -87.0f ? Lanes{} - 87.0f : x;
  x = x > 88.0f ? Lanes{} + 88.0f : x;
  const Lanes whole = (x * 1.44269504f + rounding) - rounding;
  x = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  Lanes sum = x * 1.9875691500e-4f + 1.3981999507e-3f;
  for (const float coefficient : {8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) sum = sum * x + coefficient;
  sum = sum * x * x + x + 1.0f;
  return sum * reinterpret_cast<Lanes>((__builtin_convertvector(whole, Ints) + 127) << 23);
}

inline float dot(const float* a, const float* b, uint32_t count) {
  Lanes even = {}, odd = {};
  uint32_t i = 0;
  for (; i + 8 <= count; i += 8) {
    even += load(a + i) * load(b + i);
    odd += load(a + i + 4) * load(b + i + 4);
  }
  even += odd;
  float sum = (even[0] + even[1]) + (even[2] + even[3]);
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace realm
