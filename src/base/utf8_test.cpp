#include "base/utf8.h"

#include <gtest/gtest.h>

namespace realm {
namespace {

TEST(ValidUtf8, CharactersStayAsTheyAre) {
  for (const char* text : {"", "plain", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF", "\xED\x9F\xBF"})
    EXPECT_EQ(valid_utf8(text), text);
}

TEST(ValidUtf8, EachByteThatBelongsToNoCharacterIsReplaced) {
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(valid_utf8("a\xFF"), "a" + mark);
  EXPECT_EQ(valid_utf8("\xE2\x82"), mark + mark) << "cut off";
  EXPECT_EQ(valid_utf8("\xC0\x80"), mark + mark) << "longer than it needs to be";
  EXPECT_EQ(valid_utf8("\xE0\x80\x80"), mark + mark + mark);
  EXPECT_EQ(valid_utf8("\xED\xA0\x80"), mark + mark + mark) << "half of a pair";
  EXPECT_EQ(valid_utf8("\xF4\x90\x80\x80"), mark + mark + mark + mark) << "beyond the last one";
  EXPECT_EQ(valid_utf8("\xE2(\xC3\xA9"), mark + "(\xC3\xA9");
}

}  // namespace
}  // namespace realm
