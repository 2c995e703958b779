// From a parsed HTTP head to a Request: what may pass, and what is answered at once.
#pragma once

#include <expected>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "http/message.h"
#include "http/problem.h"

namespace realm::http {

constexpr size_t target_bytes_max = 2'048;

// A made request id: 24 hexadecimal digits.
std::string make_request_id();

// Takes method, target and fields over. The problem says what is refused about the head itself; the request is then filled as far as
// it goes, so that the answer can carry its id.
std::expected<void, Problem> read_head(boost::beast::http::verb method, std::string_view target, boost::beast::http::fields fields,
                                       Request& request);

// "a=1&b=2", as it stands: names and values of this server need no escapes.
std::map<std::string, std::string, std::less<>> parse_query(std::string_view query);

}  // namespace realm::http
