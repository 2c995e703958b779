#include "base/filler_text.h"

#include <iterator>

namespace realm {

std::string filler_text(uint32_t words, uint32_t number) {
  static constexpr const char* vocabulary[] = {"the",  "old",   "keeper", "of",   "a",     "lighthouse", "saw",  "ships", "and", "waves",
                                               "near", "rocks", "while",  "wind", "moved", "over",       "grey", "water", "at",  "night"};
  std::string text;
  uint32_t state = number * 2'654'435'761u + 12'345;
  for (uint32_t i = 0; i < words; ++i) {
    state = state * 1'664'525u + 1'013'904'223u;  // Knuth's linear congruential generator, as in Numerical Recipes
    if (i > 0) text += ' ';
    text += vocabulary[(state >> 16) % std::size(vocabulary)];
  }
  return text;
}

}  // namespace realm
