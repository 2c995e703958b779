#include "http/request_head.h"

#include <sys/random.h>

#include <algorithm>
#include <cctype>

namespace realm::http {
namespace {

constexpr size_t request_id_bytes_max = 128;

bool sane_id(std::string_view id) {
  return !id.empty() && id.size() <= request_id_bytes_max &&
         std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-'; });
}

// version "-" trace-id "-" parent-id "-" flags, in lower-case hexadecimal (W3C Trace Context, 3.2).
bool sane_traceparent(std::string_view value) {
  if (value.size() != 55 || value[2] != '-' || value[35] != '-' || value[52] != '-') return false;
  return std::all_of(value.begin(), value.end(), [](char c) { return c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_path(std::string_view path) {
  return !path.empty() && path.front() == '/' &&
         std::all_of(path.begin(), path.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

std::string make_request_id() {
  uint8_t bytes[12] = {};
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return "none";
  static constexpr char digits[] = "0123456789abcdef";
  std::string id;
  for (const uint8_t byte : bytes) {
    id += digits[byte >> 4];
    id += digits[byte & 15];
  }
  return id;
}

std::map<std::string, std::string, std::less<>> parse_query(std::string_view query) {
  std::map<std::string, std::string, std::less<>> fields;
  while (!query.empty()) {
    const auto one = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(one.size() + 1, query.size()));
    const size_t equals = std::min(one.find('='), one.size());
    fields.emplace(one.substr(0, equals), one.substr(std::min(equals + 1, one.size())));
  }
  return fields;
}

std::expected<void, Problem> read_head(boost::beast::http::verb method, std::string_view target, boost::beast::http::fields fields,
                                       Request& request) {
  request.method = method;
  request.fields = std::move(fields);
  const std::string_view wished = request.header("x-request-id");
  request.id = sane_id(wished) ? std::string(wished) : make_request_id();
  if (const auto trace = request.header("traceparent"); sane_traceparent(trace)) request.traceparent = trace;
  if (target.size() > target_bytes_max) {
    return std::unexpected(
        Problem{414, "target_too_long", "the request's target is longer than " + std::to_string(target_bytes_max) + " bytes"});
  }
  const size_t question = std::min(target.find('?'), target.size());
  request.path = target.substr(0, question);
  request.query = target.substr(std::min(question + 1, target.size()));
  if (!is_path(request.path)) return std::unexpected(Problem{400, "bad_target", "the request's target must be an absolute path"});
  const auto coding = request.header("content-encoding");
  if (!coding.empty() && coding != "identity") {
    return std::unexpected(
        Problem{415, "unsupported_encoding", "content-encoding: compressed requests are not taken; send the body as it is"});
  }
  return {};
}

}  // namespace realm::http
