// A connection's bytes: the head with the parser's bounds, what of it may pass, a body in chunks or not.
#include "http/request_head.h"

#include <algorithm>
#include <cctype>

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "base/check.h"
#include "fuzz/fuzz_target.h"
#include "http/limits.h"

REALM_FUZZ_TARGET(http_head, bytes) {
  using namespace realm::http;
  namespace bhttp = boost::beast::http;
  bhttp::request_parser<bhttp::string_body> parser;
  parser.header_limit(HttpLimits().header_bytes_max);
  parser.body_limit(4'096);
  boost::system::error_code error;
  while (!bytes.empty() && !error && !parser.is_header_done()) {
    const size_t used = parser.put(boost::asio::buffer(bytes.data(), bytes.size()), error);
    bytes.remove_prefix(used);
    if (used == 0) break;
  }
  if (error || !parser.is_header_done()) return;
  const auto target = parser.get().target();
  Request request;
  const auto head = read_head(parser.get().method(), {target.data(), target.size()}, parser.get().base(), request);
  const auto printable = [](std::string_view text) { return std::ranges::all_of(text, [](unsigned char c) { return std::isgraph(c); }); };
  REALM_CHECK(!request.id.empty() && printable(request.id) && printable(request.traceparent));
  if (!head) return;
  REALM_CHECK(request.path.starts_with('/') && printable(request.path));
  parse_query(request.query);
  while (!bytes.empty() && !error && !parser.is_done()) {
    const size_t used = parser.put(boost::asio::buffer(bytes.data(), bytes.size()), error);
    bytes.remove_prefix(used);
    if (used == 0) break;
  }
  REALM_CHECK(parser.get().body().size() <= 4'096);
}
