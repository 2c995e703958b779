// One accepted connection, from its first byte to its close: a coroutine on a strand of its own.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <memory>

#include "http/limits.h"
#include "http/service.h"

namespace realm::http {

using Socket = boost::asio::generic::stream_protocol::socket;

// What a server can see of a connection from outside. Touched on the connection's strand only.
struct LiveConnection {
  Socket* socket = nullptr;  // null: not yet, or not any more
  bool idle = false;         // between requests
};

// `tls`: null for a plain connection. Returns when the connection is closed. `service`, `limits` and `tls` outlive it.
boost::asio::awaitable<void> serve_connection(Socket socket, boost::asio::ssl::context* tls, bool from_local_socket, Service& service,
                                              const HttpLimits& limits, std::shared_ptr<LiveConnection> live);

}  // namespace realm::http
