// Whole UTF-8 characters out of a stream of bytes that may be cut anywhere.
#pragma once

#include <string>
#include <string_view>

namespace realm {

// Length of the longest valid beginning of `bytes`.
size_t valid_utf8_prefix(std::string_view bytes);

class Utf8Assembler {
 public:
  // Appends the whole characters to `out` and holds an unfinished one back. Each byte that cannot belong to a character becomes
  // U+FFFD.
  void add(std::string_view bytes, std::string& out);

  // The end of the stream: an unfinished character becomes U+FFFD.
  void flush(std::string& out);

 private:
  std::string held_;  // at most 3 bytes between calls
};

}  // namespace realm
