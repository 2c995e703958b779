// Bounded reading of the little-endian fields of a GGUF file.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace realm::models {

// After the first read beyond the end everything is zero or empty, and ok() is false.
class GgufReader {
 public:
  explicit GgufReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  template <class T>
  requires std::is_trivially_copyable_v<T> T number() {
    T value{};
    if (!take(sizeof value)) return value;
    std::memcpy(&value, bytes_.data() + at_ - sizeof value, sizeof value);
    return value;
  }

  // A length in 8 bytes and so many bytes; empty and not ok() above `bytes_max`.
  std::string_view text(uint64_t bytes_max) {
    const auto length = number<uint64_t>();
    if (length > bytes_max || !take(length)) {
      ok_ = false;
      return {};
    }
    return {reinterpret_cast<const char*>(bytes_.data()) + at_ - length, length};
  }

  bool skip(uint64_t count) { return take(count); }
  bool ok() const { return ok_; }
  uint64_t at() const { return at_; }

 private:
  bool take(uint64_t count) {
    if (!ok_ || count > bytes_.size() - at_) {
      ok_ = false;
      return false;
    }
    at_ += count;
    return true;
  }

  const std::span<const uint8_t> bytes_;
  uint64_t at_ = 0;
  bool ok_ = true;
};

}  // namespace realm::models
