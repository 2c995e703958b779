// A position in the source of a grammar or a regular expression.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "realm/grammar.h"

namespace realm {

class PatternText {
 public:
  explicit PatternText(std::string_view text) : text_(text) {}

  bool more() const { return at_ < text_.size(); }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  char take() { return more() ? text_[at_++] : '\0'; }
  void skip(size_t count = 1) { at_ = std::min(at_ + count, text_.size()); }
  bool accept(std::string_view what) {
    if (text_.substr(at_).substr(0, what.size()) != what) return false;
    at_ += what.size();
    return true;
  }
  size_t position() const { return at_; }
  void return_to(size_t position) { at_ = position; }
  size_t line() const { return 1 + static_cast<size_t>(std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n')); }

  // The text is valid UTF-8.
  uint32_t take_code_point() {
    const auto first = static_cast<uint8_t>(take());
    if (first < 0x80) return first;
    const int more_bytes = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    uint32_t value = first & (0x3Fu >> more_bytes);
    for (int i = 0; i < more_bytes; ++i) value = value << 6 | (static_cast<uint8_t>(take()) & 0x3F);
    return value;
  }
  bool take_hex(uint32_t digits, uint32_t& value) {
    value = 0;
    for (uint32_t i = 0; i < digits; ++i) {
      const char c = take();
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (digit < 0) return false;
      value = value << 4 | static_cast<uint32_t>(digit);
    }
    return true;
  }
  // At most nine digits.
  bool take_number(uint32_t& value) {
    size_t digits = 0;
    value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++digits) {
      const auto digit = static_cast<uint32_t>(take() - '0');
      if (digits < 9) value = value * 10 + digit;
    }
    return digits > 0 && digits <= 9;
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

struct Repetition {
  uint32_t times_min = 1, times_max = 1;
};

// *, +, ?, {n}, {n,}, {,m}, {n,m}. False, and nothing is taken, for anything else.
inline bool parse_repetition_mark(PatternText& text, Repetition& out) {
  if (text.accept("*")) return out = {0, unlimited}, true;
  if (text.accept("+")) return out = {1, unlimited}, true;
  if (text.accept("?")) return out = {0, 1}, true;
  const size_t start = text.position();
  const auto skip_spaces = [&] {
    while (text.peek() == ' ') text.skip();
  };
  const auto parse = [&] {
    if (!text.accept("{")) return false;
    skip_spaces();
    const bool has_min = text.take_number(out.times_min);
    if (!has_min) out.times_min = 0;
    skip_spaces();
    if (text.accept("}")) return out.times_max = out.times_min, has_min;
    if (!text.accept(",")) return false;
    skip_spaces();
    const bool has_max = text.take_number(out.times_max);
    if (!has_max) out.times_max = unlimited;
    skip_spaces();
    return text.accept("}") && (has_min || has_max) && out.times_min <= out.times_max;
  };
  if (parse()) return true;
  text.return_to(start);
  return false;
}

}  // namespace realm
