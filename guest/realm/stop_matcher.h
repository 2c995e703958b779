// Finds stop strings in a stream of text and holds back what may be the beginning of one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace realm {

class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // Adds text and moves what can be shown for certain to `out`. True when a stop string was found: it and everything after it is
  // dropped, and nothing may be added any more. Where several match, the one that is complete first wins, then the longer: so the
  // result does not depend on how the text was cut into pieces.
  bool add(std::string_view text, std::string& out);

  // The end of the stream: what was held back was no stop string.
  void flush(std::string& out) {
    out += held_;
    held_.clear();
  }

  // The stop string that was found; empty before.
  const std::string& found() const { return found_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  std::string found_;
};

}  // namespace realm
