// How the command line reaches a server: through the Unix socket of its data folder, or by its address and an API key.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"

namespace realm::http {

struct Endpoint {
  std::filesystem::path socket = {};  // the operator's; empty: `url`
  std::string url = {};               // "https://realm.example.com"
  std::string key = {};               // of an API key's text
};

struct ApiCall {
  boost::beast::http::verb method = boost::beast::http::verb::get;
  std::string target;  // "/v1/programs?version=..."
  std::string body = {};
  HeaderList headers = {};
  long timeout_s = 30;
  // Takes the body of an answer below 300 as it comes, in place of Response::body; false ends the call. Empty: the body is collected.
  std::function<bool(std::string_view)> on_body = {};
};

// Blocks. unavailable: nobody listens there.
Result<Response> call_api(const Endpoint& endpoint, const ApiCall& call);

}  // namespace realm::http
