// A request and a response as handlers see them, free of any socket.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/verb.hpp>

namespace realm::http {

// Which family of clients a route belongs to: it decides the shape of errors.
enum class Protocol : uint8_t { openai, anthropic, admin };

struct Request {
  boost::beast::http::verb method = boost::beast::http::verb::unknown;
  std::string path;   // without the query
  std::string query;  // without '?'
  boost::beast::http::fields fields;
  std::string body;
  std::string id;                  // the client's x-request-id when it is sane, else a made one
  std::string traceparent;         // W3C, checked; empty when absent
  bool from_local_socket = false;  // the operator's Unix socket: who may open the file is the administrator
  bool keep_alive = true;

  std::string_view header(std::string_view name) const {
    const auto value = fields[boost::beast::string_view(name.data(), name.size())];
    return {value.data(), value.size()};
  }
  // The route as programs and logs know it: "POST /v1/completions".
  std::string route() const {
    const auto name = boost::beast::http::to_string(method);
    return std::string(name.data(), name.size()) + ' ' + path;
  }
};

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct Response {
  uint16_t status = 200;
  std::string content_type = "application/json";
  std::string body;
  HeaderList headers = {};
};

}  // namespace realm::http
