// Numbers within bounds, as pieces of a grammar.
#pragma once

#include <cstdint>
#include <optional>

#include "realm/grammar.h"

namespace realm {

constexpr uint32_t decimals_max = 9;              // of a bound, or of multipleOf
constexpr uint32_t integer_multiple_max = 1'000;  // of multipleOf for integers without bounds

struct NumberBounds {
  bool integer = false;
  std::optional<double> low, high;
  bool low_excluded = false, high_excluded = false;
  std::optional<double> multiple_of;
};

// Without exponents, at most 15 digits on each side of the point. What cannot be said is left to builder.problem().
GrammarBuilder::Piece add_number(GrammarBuilder& builder, const NumberBounds& bounds);

}  // namespace realm
