#include "realm/number_grammar.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "realm/json_grammar.h"

namespace realm {
namespace {

using Piece = GrammarBuilder::Piece;

constexpr int64_t largest = 999'999'999'999'999;  // json_digits_max digits

int64_t power_of_ten(uint32_t exponent) {
  int64_t power = 1;
  for (uint32_t i = 0; i < exponent; ++i) power *= 10;
  return power;
}

// How many decimals a value has as people write it; more than decimals_max count as decimals_max + 1.
uint32_t decimals_of(double value) {
  for (uint32_t decimals = 0; decimals <= decimals_max; ++decimals) {
    const double scaled = value * static_cast<double>(power_of_ten(decimals));
    if (std::abs(scaled - std::round(scaled)) <= std::abs(scaled) * 1e-13) return decimals;
  }
  return decimals_max + 1;
}

// Digits with a point before the last `decimals` of them, and something after them.
class Digits {
 public:
  Digits(GrammarBuilder& builder, uint32_t decimals) : builder_(builder), decimals_(decimals) {}

  // Texts of the whole numbers from low to high, both at least 0, each shorter one filled up with zeros to a digit before the point.
  Piece between(int64_t low, int64_t high) {
    std::vector<Piece> alternatives;
    for (uint32_t length = decimals_ + 1; length <= 18; ++length) {
      const int64_t first = std::max(low, length == decimals_ + 1 ? 0 : power_of_ten(length - 1));
      const int64_t last = std::min(high, power_of_ten(length) - 1);
      if (first <= last) alternatives.push_back(of_length(padded(first, length), padded(last, length), 0));
    }
    return alternatives.empty() ? builder_.nothing() : builder_.choice(alternatives);
  }

 private:
  static std::string padded(int64_t value, uint32_t length) {
    const std::string digits = std::to_string(value);
    return std::string(length - digits.size(), '0') + digits;
  }

  Piece digit(char low, char high, size_t at, size_t length) {
    const Piece piece = builder_.characters({{static_cast<uint8_t>(low), static_cast<uint8_t>(high)}});
    return decimals_ > 0 && at == length - decimals_ ? builder_.then(builder_.literal("."), piece) : piece;
  }

  Piece of_length(const std::string& low, const std::string& high, size_t at) {
    const size_t length = low.size();
    if (at == length) return builder_.empty();
    const bool low_is_least = low.find_first_not_of('0', at) == std::string::npos;
    const bool high_is_most = high.find_first_not_of('9', at) == std::string::npos;
    if (low_is_least && high_is_most) {
      Piece all = builder_.empty();
      for (size_t i = at; i < length; ++i) all = builder_.then(all, digit('0', '9', i, length));
      return all;
    }
    if (low[at] == high[at]) return builder_.then(digit(low[at], low[at], at, length), of_length(low, high, at + 1));
    const std::string nines(length, '9'), zeros(length, '0');
    std::vector<Piece> alternatives = {builder_.then(digit(low[at], low[at], at, length), of_length(low, nines, at + 1)),
                                       builder_.then(digit(high[at], high[at], at, length), of_length(zeros, high, at + 1))};
    if (high[at] - low[at] > 1) {
      const char first = static_cast<char>(low[at] + 1), last = static_cast<char>(high[at] - 1);
      alternatives.push_back(builder_.then(digit(first, last, at, length), of_length(zeros, nines, at + 1)));
    }
    return builder_.choice(alternatives);
  }

  GrammarBuilder& builder_;
  const uint32_t decimals_;
};

// -0 is left out: not every reader takes it for 0.
Piece signed_between(GrammarBuilder& builder, uint32_t decimals, int64_t low, int64_t high) {
  Digits digits(builder, decimals);
  std::vector<Piece> alternatives;
  if (high >= 0) alternatives.push_back(digits.between(std::max<int64_t>(low, 0), high));
  if (low < 0) alternatives.push_back(builder.then(builder.literal("-"), digits.between(std::max<int64_t>(1, -high), -low)));
  return builder.choice(alternatives);
}

// Between two neighbouring numbers of so many decimals: more digits, the last one not 0.
Piece further_digits(GrammarBuilder& builder, uint32_t decimals) {
  const Piece digits = builder.then(builder.repeat(builder.characters({{'0', '9'}}), 0, json_digits_max - decimals_max - 1),
                                    builder.characters({{'1', '9'}}));
  return decimals == 0 ? builder.then(builder.literal("."), digits) : digits;
}

// low and high count steps of 10^-decimals; every number strictly between two neighbouring steps is in as well.
Piece dense_between(GrammarBuilder& builder, uint32_t decimals, int64_t low, int64_t high) {
  std::vector<Piece> alternatives;
  Digits digits(builder, decimals);
  if (high > 0 && high > low) {
    alternatives.push_back(builder.then(digits.between(std::max<int64_t>(low, 0), high - 1), further_digits(builder, decimals)));
  }
  if (low < 0 && low < high) {
    const Piece negative = digits.between(std::max<int64_t>(0, -high), -low - 1);
    alternatives.push_back(builder.then(builder.literal("-"), builder.then(negative, further_digits(builder, decimals))));
  }
  return alternatives.empty() ? builder.nothing() : builder.choice(alternatives);
}

// Decimal digits whose value is 0 modulo `n`: the states are remainders.
Piece multiples(GrammarBuilder& builder, uint32_t n) {
  const Piece piece = builder.nothing();
  std::vector<uint32_t> by_remainder;
  for (uint32_t i = 0; i < n; ++i) by_remainder.push_back(builder.add_state());
  for (uint32_t remainder = 0; remainder < n; ++remainder) {
    for (uint32_t digit = 0; digit < 10; ++digit) {
      const uint32_t next = by_remainder[(remainder * 10 + digit) % n];
      builder.join_byte(by_remainder[remainder], static_cast<uint8_t>('0' + digit), next);
    }
  }
  for (uint32_t digit = 1; digit < 10; ++digit) builder.join_byte(piece.begin, static_cast<uint8_t>('0' + digit), by_remainder[digit % n]);
  builder.join(by_remainder[0], piece.end);
  return builder.choice({builder.literal("0"), builder.then(builder.optional(builder.literal("-")), piece)});
}

}  // namespace

Piece add_number(GrammarBuilder& builder, const NumberBounds& bounds) {
  uint32_t decimals = 0;
  if (bounds.multiple_of) {
    const double step = *bounds.multiple_of;
    decimals = decimals_of(step);
    const bool power_of_a_tenth = decimals <= decimals_max && std::round(step * static_cast<double>(power_of_ten(decimals))) == 1;
    const bool whole = step >= 1 && step <= integer_multiple_max && decimals == 0;
    if (whole && step > 1 && !bounds.low && !bounds.high) return multiples(builder, static_cast<uint32_t>(step));
    if (!power_of_a_tenth) {
      builder.refuse("multipleOf " + std::to_string(step) + " is supported neither " +
                     (whole ? "together with bounds" : "as a whole number up to " + std::to_string(integer_multiple_max)) +
                     " nor as 1, 0.1, 0.01 and so on");
      return builder.nothing();
    }
    if (bounds.integer) decimals = 0;
  }
  const bool stepped = bounds.integer || bounds.multiple_of;
  uint32_t precision = decimals;
  for (const std::optional<double>& bound : {bounds.low, bounds.high}) {
    if (bound && !stepped) precision = std::max(precision, decimals_of(*bound));
  }
  if (precision > decimals_max) {
    builder.refuse("a bound with more than " + std::to_string(decimals_max) + " decimals is not supported");
    return builder.nothing();
  }
  const double scale = static_cast<double>(power_of_ten(precision));
  const auto most = static_cast<double>(largest);
  const double low = bounds.low ? std::clamp(*bounds.low * scale, -most, most) : -most;
  const double high = bounds.high ? std::clamp(*bounds.high * scale, -most, most) : most;
  // Products such as 0.1 * 10 may miss the whole number that they are.
  const auto is_whole = [](double value) { return std::abs(value - std::round(value)) <= std::abs(value) * 1e-13; };
  const auto up = static_cast<int64_t>(is_whole(low) ? std::round(low) : std::ceil(low));
  const auto down = static_cast<int64_t>(is_whole(high) ? std::round(high) : std::floor(high));
  const int64_t first = up + (bounds.low_excluded && is_whole(low) ? 1 : 0);
  const int64_t last = down - (bounds.high_excluded && is_whole(high) ? 1 : 0);
  const Piece steps = first <= last ? signed_between(builder, precision, first, last) : builder.nothing();
  return stepped ? steps : builder.choice({steps, dense_between(builder, precision, up, down)});
}

}  // namespace realm
