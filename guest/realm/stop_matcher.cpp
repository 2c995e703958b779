#include "realm/stop_matcher.h"

#include <algorithm>

namespace realm {
namespace {

// The length of the longest end of `text` that is a beginning of `stop`, but not all of it.
size_t open_end(std::string_view text, std::string_view stop) {
  for (size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (text.substr(text.size() - length) == stop.substr(0, length)) return length;
  }
  return 0;
}

}  // namespace

bool StopMatcher::add(std::string_view text, std::string& out) {
  held_ += text;
  size_t end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    if (at + stop.size() < end || (at + stop.size() == end && stop.size() > found_.size())) {
      end = at + stop.size();
      found_ = stop;
    }
  }
  if (end != std::string::npos) {
    out.append(held_, 0, end - found_.size());
    held_.clear();
    return true;
  }
  size_t keep = 0;
  for (const std::string& stop : stops_) keep = std::max(keep, open_end(held_, stop));
  out.append(held_, 0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return false;
}

}  // namespace realm
