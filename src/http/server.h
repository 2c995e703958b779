// Listens, accepts, drains. What is served is a Service's business.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "http/limits.h"
#include "http/service.h"

namespace realm::http {

struct ServerOptions {
  std::vector<std::string> hosts = {"127.0.0.1"};  // addresses or names, IPv4 and IPv6
  uint16_t port = 8'080;                           // 0: any that is free
  std::filesystem::path local_socket = {};         // the operator's Unix socket, mode 0600; empty: none
  std::filesystem::path tls_certificate = {};      // PEM chain; with tls_key; empty: plain HTTP
  std::filesystem::path tls_key = {};
  uint32_t threads = 2;
  HttpLimits limits;
};

class Server {
 public:
  // Listens on every host before it returns. `service` must outlive the server.
  static Result<std::unique_ptr<Server>> start(const ServerOptions& options, Service& service);
  ~Server();  // closes what is left
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const noexcept;
  // Stops listening, closes idle connections and waits until the rest are done, at most drain_timeout_ms, or until stop_now().
  // Any thread but the server's own.
  void drain();
  void stop_now();  // ends a drain early. Any thread

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace realm::http
