// Passes over one row of logits that touch every value: vectorised, and the same to the last bit on every x86-64 processor.
//
// A row is seen as blocks of 64. The largest value of each block tells later passes which blocks they can leave out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace realm::engine {

constexpr size_t logit_block = 64;
constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

// maxima[b]: the largest value of block b; NaN counts as minus infinity. Returns the largest of all.
float block_maxima(std::span<const float> row, std::vector<float>& maxima);

// The lowest token id whose logit is `largest`, which block_maxima returned and which is not minus infinity.
int32_t first_token_of(std::span<const float> row, std::span<const float> maxima, float largest);

struct RowMass {
  double mass = 0;      // sum of e^x, x = (logit - largest) * scale
  double weighted = 0;  // sum of x * e^x: the entropy is log(mass) - weighted / mass
};

// masses[b]: what block b has of the mass. Relative error below 1e-6; what is 87 and more below the largest counts as zero
// (a vocabulary of a million such tokens has less than 1e-31 of the mass). `largest` is finite.
RowMass block_masses(std::span<const float> row, float largest, float scale, std::vector<float>& masses);

// The token at which the running sum of e^x, in the order of ids, passes `target`; `masses` as block_masses left it.
int32_t token_at_mass(std::span<const float> row, float largest, float scale, std::span<const float> masses, double target);

}  // namespace realm::engine
