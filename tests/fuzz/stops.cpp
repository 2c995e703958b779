// Stop strings in a stream. The first line has them, with commas between.
#include <algorithm>

#include "base/check.h"
#include "fuzz/fuzz_choices.h"
#include "fuzz/fuzz_target.h"
#include "realm/stop_matcher.h"

REALM_FUZZ_TARGET(stops, bytes) {
  const size_t line = std::min(bytes.find('\n'), bytes.size());
  std::string_view list = bytes.substr(0, line);
  const std::string_view text = bytes.substr(std::min(line + 1, bytes.size()));
  std::vector<std::string> stops;
  while (!list.empty() && stops.size() < 16) {
    const size_t comma = std::min(list.find(','), list.size());
    if (comma > 0) stops.emplace_back(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  realm::StopMatcher whole(stops), cut(stops);
  std::string at_once, in_pieces;
  if (!whole.add(text, at_once)) whole.flush(at_once);
  realm::fuzz::Choices choices(bytes);
  bool found = false;
  realm::fuzz::in_pieces(text, choices, [&](std::string_view piece) { found = found || cut.add(piece, in_pieces); });
  if (!found) cut.flush(in_pieces);
  REALM_CHECK(at_once == in_pieces && whole.found() == cut.found());
}
