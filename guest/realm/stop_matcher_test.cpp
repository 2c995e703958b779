#include "realm/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace realm {
namespace {

// What is shown of the whole text: the shortest beginning of it that ends with a stop string, without the longest one there.
std::string naive(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (std::string_view(text).substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

TEST(StopMatcher, TextUpToTheStopStringIsShown) {
  StopMatcher matcher({"END"});
  std::string out;
  EXPECT_FALSE(matcher.add("hello E", out));
  EXPECT_EQ(out, "hello ") << "what may begin a stop string is held back";
  EXPECT_TRUE(matcher.add("ND more", out));
  EXPECT_EQ(out, "hello ");
  EXPECT_EQ(matcher.found(), "END");
}

TEST(StopMatcher, FalseAlarmsAreShownInTheEnd) {
  StopMatcher matcher({"END"});
  std::string out;
  EXPECT_FALSE(matcher.add("EN", out));
  EXPECT_EQ(out, "");
  EXPECT_FALSE(matcher.add("JOY EN", out));
  EXPECT_EQ(out, "ENJOY ");
  matcher.flush(out);
  EXPECT_EQ(out, "ENJOY EN");
}

TEST(StopMatcher, AnySplittingShowsWhatTheWholeTextWould) {
  std::mt19937 random(7);
  const auto word = [&random](size_t length, uint32_t letters) {
    std::string letters_drawn;
    while (letters_drawn.size() < length) letters_drawn += static_cast<char>('a' + random() % letters);
    return letters_drawn;
  };
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::string> stops(random() % 4);
    for (std::string& stop : stops) stop = word(1 + random() % 4, 2);
    const std::string text = word(20, 3);
    const std::string expected = naive(text, stops);
    StopMatcher matcher(stops);
    std::string out;
    bool stopped = false;
    for (size_t at = 0, length = 0; at < text.size() && !stopped; at += length) {
      length = random() % 8;
      stopped = matcher.add(std::string_view(text).substr(at, length), out);
      ASSERT_TRUE(expected.starts_with(out)) << "shown too early: " << out << " of " << text;
    }
    if (!stopped) matcher.flush(out);
    ASSERT_EQ(out, expected) << text;
    ASSERT_EQ(stopped, expected.size() < text.size()) << text;
  }
}

}  // namespace
}  // namespace realm
