#include "realm/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace realm {
namespace {

// What a matcher that sees the whole text at once would show.
std::string naive(const std::string& text, const std::vector<std::string>& stops) {
  size_t first = std::string::npos;
  for (const std::string& stop : stops) first = std::min(first, text.find(stop));
  return text.substr(0, first);
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
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::string> stops(random() % 4);
    for (std::string& stop : stops) {
      for (size_t i = 0; i <= random() % 4; ++i) stop += static_cast<char>('a' + random() % 2);
    }
    std::string text, out;
    StopMatcher matcher(stops);
    bool stopped = false;
    while (!stopped && text.size() < 20) {
      std::string piece;
      for (size_t i = 0; i < random() % 4; ++i) piece += static_cast<char>('a' + random() % 3);
      text += piece;
      stopped = matcher.add(piece, out);
      EXPECT_EQ(out, naive(text, stops).substr(0, out.size()));
      if (naive(text, stops).size() < text.size()) {
        EXPECT_TRUE(stopped);
      }
    }
    if (!stopped) matcher.flush(out);
    EXPECT_EQ(out, naive(text, stops));
  }
}

}  // namespace
}  // namespace realm
