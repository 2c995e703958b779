#include "realm/utf8_assembler.h"

#include <cstdint>

namespace realm {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

struct Character {
  size_t length;  // 0: the first byte begins none
  bool whole;     // false: the bytes there are a beginning of one
};

// The well-formed sequences of Unicode 15, table 3-7.
Character character_at(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {1, true};
  size_t length = 0;
  uint8_t low = 0x80, high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF)
    length = 2;
  else if (first >= 0xE0 && first <= 0xEF)
    length = 3;
  else if (first >= 0xF0 && first <= 0xF4)
    length = 4;
  else
    return {0, false};
  if (first == 0xE0) low = 0xA0;
  if (first == 0xED) high = 0x9F;
  if (first == 0xF0) low = 0x90;
  if (first == 0xF4) high = 0x8F;
  for (size_t i = 1; i < length; ++i) {
    if (i >= bytes.size()) return {length, false};
    if (byte(i) < low || byte(i) > high) return {0, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true};
}

}  // namespace

size_t valid_utf8_prefix(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    const Character character = character_at(bytes.substr(at));
    if (character.length == 0 || !character.whole) break;
    at += character.length;
  }
  return at;
}

void Utf8Assembler::add(std::string_view bytes, std::string& out) {
  held_ += bytes;
  size_t at = 0;
  while (at < held_.size()) {
    const std::string_view rest = std::string_view(held_).substr(at);
    const Character character = character_at(rest);
    if (character.length == 0) {
      out += replacement;
      ++at;
    } else if (!character.whole) {
      break;
    } else {
      out += rest.substr(0, character.length);
      at += character.length;
    }
  }
  held_.erase(0, at);
}

void Utf8Assembler::flush(std::string& out) {
  if (!held_.empty()) out += replacement;
  held_.clear();
}

}  // namespace realm
