// Text to measure with: words that mean nothing, the same for the same number.
#pragma once

#include <cstdint>
#include <string>

namespace realm {

// `words` words with a space between them, about a token each, in an order that differs from number to number.
std::string filler_text(uint32_t words, uint32_t number);

}  // namespace realm
