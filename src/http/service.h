// What a server does with requests. The connection asks in this order: authorize (before any byte of the body is read), then serve.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>

#include "http/client_io.h"
#include "http/message.h"
#include "http/problem.h"

namespace realm::http {

// What authorize() found out about a request; serve() gets it back. Implementations derive their own.
struct Caller {
  virtual ~Caller() = default;
  uint64_t body_bytes_max = 0;
};

// How a request ended, for the access log and the metrics.
struct Served {
  uint16_t status = 0;
  bool client_gone = false;
};

class Service {
 public:
  virtual ~Service() = default;
  virtual Protocol protocol_of(const Request& request) const = 0;
  // Any thread. Takes the head alone.
  virtual std::expected<std::unique_ptr<Caller>, Problem> authorize(const Request& request) = 0;
  virtual boost::asio::awaitable<Served> serve(const Request& request, std::unique_ptr<Caller> caller, ClientIo& client) = 0;
  // A request that ended before serve(): refused, malformed, timed out.
  virtual void note_refused(const Request& request, const Problem& problem) = 0;
  virtual void note_connection(bool opened) = 0;  // false: closed
  virtual void note_connection_refused() = 0;     // there are connections_max already
  virtual bool draining() const = 0;
  // What every answer to this request carries, besides its own headers.
  virtual void add_headers(const Request& request, HeaderList& headers) const = 0;
};

}  // namespace realm::http
