#include "realm/utf8_assembler.h"

#include <gtest/gtest.h>

namespace realm {
namespace {

constexpr std::string_view samples[] = {"plain",    "naïve", "日本語のテキスト", "🦊 and 👩‍👩‍👧", "\xF4\x8F\xBF\xBF",
                                        "é\xCC\x81"};

TEST(Utf8Assembler, AnyCutGivesTheSameText) {
  for (const std::string_view text : samples) {
    for (size_t first = 0; first <= text.size(); ++first) {
      for (size_t second = first; second <= text.size(); ++second) {
        Utf8Assembler assembler;
        std::string out;
        for (const auto piece : {text.substr(0, first), text.substr(first, second - first), text.substr(second)}) {
          assembler.add(piece, out);
          EXPECT_EQ(valid_utf8_prefix(out), out.size()) << "half a character was shown";
        }
        assembler.flush(out);
        EXPECT_EQ(out, text);
      }
    }
  }
}

TEST(Utf8Assembler, BytesThatBelongToNoCharacterAreReplaced) {
  const std::pair<std::string_view, std::string_view> cases[] = {{"a\xFFz", "a\xEF\xBF\xBDz"},              // never valid
                                                                 {"a\x80z", "a\xEF\xBF\xBDz"},              // continues nothing
                                                                 {"\xC0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD"},  // overlong
                                                                 {"a\xE6\x97z", "a\xEF\xBF\xBD\xEF\xBF\xBDz"},
                                                                 {"\xE6\x97", "\xEF\xBF\xBD"},  // cut off at the end
                                                                 {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}};  // a surrogate
  for (const auto& [bytes, text] : cases) {
    Utf8Assembler assembler;
    std::string out;
    for (const char byte : bytes) assembler.add({&byte, 1}, out);
    assembler.flush(out);
    EXPECT_EQ(out, text);
  }
}

}  // namespace
}  // namespace realm
