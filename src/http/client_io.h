// One client's connection as handlers use it, plain or TLS. Everything runs on the connection's strand.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <string_view>

#include "http/message.h"

namespace realm::http {

class ClientIo {
 public:
  virtual ~ClientIo() = default;
  virtual boost::asio::any_io_executor executor() = 0;

  // A whole response with its length. False when the client is gone or took nothing for write_timeout_ms.
  virtual boost::asio::awaitable<bool> respond(const Request& request, const Response& response) = 0;

  // A response of unknown length: the head, pieces, the end. False as above.
  virtual boost::asio::awaitable<bool> begin(const Request& request, const Response& head) = 0;
  virtual boost::asio::awaitable<bool> write(std::string_view bytes) = 0;
  virtual boost::asio::awaitable<bool> end() = 0;

  // Completes when the client has closed its side; cancel it when the answer is out.
  virtual boost::asio::awaitable<void> closed() = 0;
};

}  // namespace realm::http
