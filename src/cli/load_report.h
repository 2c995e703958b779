// What a load says about the server that answered it.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <vector>

#include "http/load_client.h"

namespace realm::cli {

// A request is good when its first token came within `first_token_ms` and its others within `token_ms` each, on average.
struct ServiceObjective {
  double first_token_ms = 1'000;
  double token_ms = 100;
};

// Times of a request count from when it was due. `customers` is how many there are, also those that got nothing;
// their speeds, tokens a second while they wait for an answer, are compared.
boost::json::object load_report(const std::vector<http::LoadRecord>& records, const ServiceObjective& objective, uint32_t customers);

// The same for a person.
std::vector<std::string> load_report_lines(const boost::json::object& report);

}  // namespace realm::cli
