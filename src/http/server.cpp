#include "http/server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/thread_name.h"
#include "http/connection.h"

namespace realm::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using asio::local::stream_protocol;
using boost::system::error_code;

constexpr auto token = asio::as_tuple(asio::use_awaitable);
constexpr int accept_queue = 1'024;
constexpr std::chrono::milliseconds accept_pause{100};  // when the process is out of descriptors

Result<void> io_failure(const std::string& what, const error_code& error) { return fail(ErrorCode::io, what + ": " + error.message()); }

// True when somebody answers on the socket; a file left by a dead process is no one.
bool is_alive(asio::io_context& context, const stream_protocol::endpoint& endpoint) {
  stream_protocol::socket probe(context);
  error_code error;
  probe.connect(endpoint, error);
  return !error;
}

}  // namespace

struct Server::Impl {
  Impl(const ServerOptions& the_options, Service& the_service) : options(the_options), service(the_service) {}

  const ServerOptions options;
  Service& service;
  asio::io_context context;
  std::optional<asio::ssl::context> tls;
  std::list<tcp::acceptor> acceptors;
  std::optional<stream_protocol::acceptor> local;
  uint16_t port = 0;
  std::vector<std::thread> threads;
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(context);

  struct Tracked {
    asio::any_io_executor executor;
    std::shared_ptr<LiveConnection> live;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::list<Tracked> connections;  // guarded
  bool stopping_now = false;       // guarded

  Result<void> prepare_tls() {
    if (options.tls_certificate.empty()) return {};
    tls.emplace(asio::ssl::context::tls_server);
    error_code error;
    tls->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1, error);
    tls->use_certificate_chain_file(options.tls_certificate.string(), error);
    if (error) return io_failure("TLS certificate " + options.tls_certificate.string(), error);
    tls->use_private_key_file(options.tls_key.string(), asio::ssl::context::pem, error);
    if (error) return io_failure("TLS key " + options.tls_key.string(), error);
    return {};
  }

  Result<void> listen(const std::string& host) {
    tcp::resolver resolver(context);
    error_code error;
    const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive | tcp::resolver::numeric_service, error);
    if (error) return io_failure("address " + host, error);
    const tcp::endpoint endpoint = *found.begin();
    tcp::acceptor acceptor(context);
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error && endpoint.protocol() == tcp::v6()) acceptor.set_option(asio::ip::v6_only(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(accept_queue, error);
    if (error) return io_failure("listening on " + host + " port " + std::to_string(port), error);
    port = acceptor.local_endpoint().port();
    acceptors.push_back(std::move(acceptor));
    return {};
  }

  Result<void> listen_locally() {
    if (options.local_socket.empty()) return {};
    const std::string path = options.local_socket.string();
    if (path.size() >= sizeof(sockaddr_un::sun_path)) {
      return fail(ErrorCode::invalid_argument, "socket " + path + ": the path is longer than a socket's may be; choose another --data");
    }
    const stream_protocol::endpoint endpoint(path);
    if (is_alive(context, endpoint)) {
      return fail(ErrorCode::already_exists, "socket " + path + ": another server uses this data folder; choose another --data");
    }
    std::error_code ignored;
    std::filesystem::remove(options.local_socket, ignored);
    local.emplace(context);
    error_code error;
    local->open(endpoint.protocol(), error);
    const mode_t before = umask(0077);
    if (!error) local->bind(endpoint, error);
    umask(before);
    if (!error) local->listen(accept_queue, error);
    return error ? io_failure("socket " + path, error) : Result<void>{};
  }

  template <class Acceptor>
  asio::awaitable<void> accept_all(Acceptor& acceptor, asio::ssl::context* with_tls, bool is_local) {
    while (acceptor.is_open()) {
      auto [error, socket] = co_await acceptor.async_accept(asio::make_strand(context), token);
      if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) co_return;
      if (error) {
        log().warn("accepting a connection: {}", error.message());
        asio::steady_timer pause(context, accept_pause);
        co_await pause.async_wait(token);
        continue;
      }
      if constexpr (std::is_same_v<Acceptor, tcp::acceptor>) {
        error_code ignored;
        socket.set_option(tcp::no_delay(true), ignored);
      }
      take_on(Socket(std::move(socket)), with_tls, is_local);
    }
  }

  void take_on(Socket socket, asio::ssl::context* with_tls, bool is_local) {
    const asio::any_io_executor executor = socket.get_executor();
    auto live = std::make_shared<LiveConnection>();
    std::list<Tracked>::iterator place;
    {
      std::lock_guard lock(mutex);
      if (connections.size() >= options.limits.connections_max) return service.note_connection_refused();  // closes the socket
      place = connections.insert(connections.end(), Tracked{executor, live});
    }
    service.note_connection(true);
    asio::co_spawn(executor, serve_connection(std::move(socket), with_tls, is_local, service, options.limits, live),
                   [this, place](std::exception_ptr thrown) {
                     if (thrown) log().error("a connection ended by an exception");
                     service.note_connection(false);
                     std::lock_guard lock(mutex);
                     connections.erase(place);
                     changed.notify_all();
                   });
  }

  void close_acceptors() {
    asio::post(context, [this] {
      error_code ignored;
      for (auto& acceptor : acceptors) acceptor.close(ignored);
      if (local) local->close(ignored);
    });
  }

  // Idle connections are woken so that they close; with `all`, every connection is.
  void end_connections(bool all) {
    std::lock_guard lock(mutex);
    for (const Tracked& tracked : connections) {
      asio::post(tracked.executor, [live = tracked.live, all] {
        error_code ignored;
        if (live->socket == nullptr) return;
        if (all) {
          live->socket->close(ignored);
        } else if (live->idle) {
          live->socket->cancel(ignored);
        }
      });
    }
  }
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Server>> Server::start(const ServerOptions& options, Service& service) {
  auto impl = std::make_unique<Impl>(options, service);
  impl->port = options.port;
  if (auto tls = impl->prepare_tls(); !tls) return fail(std::move(tls));
  for (const std::string& host : options.hosts) {
    if (auto listening = impl->listen(host); !listening) return fail(std::move(listening));
  }
  if (auto listening = impl->listen_locally(); !listening) return fail(std::move(listening));
  asio::ssl::context* tls = impl->tls ? &*impl->tls : nullptr;
  for (auto& acceptor : impl->acceptors) asio::co_spawn(impl->context, impl->accept_all(acceptor, tls, false), asio::detached);
  if (impl->local) asio::co_spawn(impl->context, impl->accept_all(*impl->local, nullptr, true), asio::detached);
  for (uint32_t i = 0; i < std::max(options.threads, 1u); ++i) {
    impl->threads.push_back(start_thread("http", [&context = impl->context] { context.run(); }));
  }
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

uint16_t Server::port() const noexcept { return impl_->port; }

void Server::drain() {
  impl_->close_acceptors();
  impl_->end_connections(false);
  std::unique_lock lock(impl_->mutex);
  impl_->changed.wait_for(lock, std::chrono::milliseconds(impl_->options.limits.drain_timeout_ms),
                          [this] { return impl_->connections.empty() || impl_->stopping_now; });
}

void Server::stop_now() {
  std::lock_guard lock(impl_->mutex);
  impl_->stopping_now = true;
  impl_->changed.notify_all();
}

Server::~Server() {
  impl_->close_acceptors();
  impl_->end_connections(true);
  {
    // Connections end by themselves now: their sockets are closed.
    std::unique_lock lock(impl_->mutex);
    impl_->changed.wait_for(lock, std::chrono::seconds(2), [this] { return impl_->connections.empty(); });
  }
  impl_->work.reset();
  impl_->context.stop();
  for (std::thread& thread : impl_->threads) thread.join();
  std::error_code ignored;
  if (!impl_->options.local_socket.empty()) std::filesystem::remove(impl_->options.local_socket, ignored);
}

}  // namespace realm::http
