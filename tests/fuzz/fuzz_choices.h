// Choices drawn from a few bytes of an input, so that the same input does the same each time.
#pragma once

#include <cstdint>
#include <string_view>

namespace realm::fuzz {

class Choices {
 public:
  explicit Choices(std::string_view bytes) {
    for (const char c : bytes) state_ = (state_ ^ static_cast<uint8_t>(c)) * 0x100000001b3;  // FNV-1a
  }
  uint32_t below(uint32_t count) {
    state_ = state_ * 6364136223846793005 + 1442695040888963407;
    return static_cast<uint32_t>(state_ >> 33) % count;
  }

 private:
  uint64_t state_ = 0xcbf29ce484222325;
};

// Takes one byte off the front; 0 when there is none.
inline uint8_t take_byte(std::string_view& bytes) {
  if (bytes.empty()) return 0;
  const auto byte = static_cast<uint8_t>(bytes.front());
  bytes.remove_prefix(1);
  return byte;
}

// Calls `give` with pieces of the text, cut where the choices say.
template <class Give>
void in_pieces(std::string_view text, Choices& choices, const Give& give) {
  while (!text.empty()) {
    const size_t length = 1 + choices.below(static_cast<uint32_t>(text.size() < 9 ? text.size() : 9));
    give(text.substr(0, length));
    text.remove_prefix(length);
  }
}

}  // namespace realm::fuzz
