#include "http/connection.h"

#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <chrono>

#include "http/request_head.h"

namespace realm::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using Milliseconds = std::chrono::milliseconds;
using TlsStream = asio::ssl::stream<Socket>;
using beast::error_code;

constexpr auto token = asio::as_tuple(asio::use_awaitable);
constexpr uint32_t linger_ms = 1'000;          // what a client still sends after the last answer is read for so long, so that
constexpr size_t linger_bytes_max = 1u << 20;  // no reset destroys the answer on its way
constexpr uint8_t tls_alert = 21;

// While it lives, what the socket does must be done in time: afterwards its operations are cancelled and expired() is true. The
// socket stays open, so that the client can be told.
class Deadline {
 public:
  Deadline(Socket& socket, uint32_t timeout_ms) : timer_(socket.get_executor(), Milliseconds(timeout_ms)) {
    timer_.async_wait([expired = expired_, &socket](error_code error) {
      if (error || expired.use_count() == 1) return;  // cancelled, or the deadline is gone and maybe the socket too
      *expired = true;
      error_code ignored;
      socket.cancel(ignored);
    });
  }
  ~Deadline() { timer_.cancel(); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  bool expired() const { return *expired_; }

 private:
  std::shared_ptr<bool> expired_ = std::make_shared<bool>(false);
  asio::steady_timer timer_;
};

template <class Stream>
class Connection final : public ClientIo {
 public:
  Connection(Stream& stream, bool from_local_socket, Service& service, const HttpLimits& limits, LiveConnection& live)
      : stream_(stream), from_local_socket_(from_local_socket), service_(service), limits_(limits), live_(live) {
    live_.socket = &socket();
  }
  ~Connection() override { live_.socket = nullptr; }

  asio::awaitable<void> run() {
    // What a coroutine here awaits, and what it gives to what it awaits, has a name: GCC 12 miscompiles some that have none.
    bool goes_on = true;
    while (goes_on) goes_on = co_await one_request();
    co_await close();
  }

  asio::any_io_executor executor() override { return stream_.get_executor(); }

  asio::awaitable<bool> respond(const Request& request, const Response& response) override {
    bhttp::response<bhttp::string_body> message{static_cast<bhttp::status>(response.status), version_};
    fill_head(request, response, message);
    message.body() = request.method == bhttp::verb::head ? std::string() : response.body;
    if (request.method == bhttp::verb::head) {
      message.content_length(response.body.size());
    } else {
      message.prepare_payload();
    }
    bhttp::serializer<false, bhttp::string_body> serializer{message};
    const Deadline deadline(socket(), limits_.write_timeout_ms);
    const auto [error, count] = co_await bhttp::async_write(stream_, serializer, token);
    co_return !error;
  }

  asio::awaitable<bool> begin(const Request& request, const Response& head) override {
    bhttp::response<bhttp::empty_body> message{static_cast<bhttp::status>(head.status), version_};
    fill_head(request, head, message);
    chunked_ = version_ >= 11;
    if (chunked_) {
      message.chunked(true);
    } else {
      message.keep_alive(false);  // HTTP/1.0 knows the end by the close alone
      keep_alive_ = false;
    }
    bhttp::serializer<false, bhttp::empty_body> serializer{message};
    const Deadline deadline(socket(), limits_.write_timeout_ms);
    const auto [error, count] = co_await bhttp::async_write_header(stream_, serializer, token);
    co_return !error;
  }

  asio::awaitable<bool> write(std::string_view bytes) override {
    if (bytes.empty()) co_return true;
    const asio::const_buffer piece(bytes.data(), bytes.size());
    const Deadline deadline(socket(), limits_.write_timeout_ms);
    if (chunked_) {
      const auto [error, count] = co_await asio::async_write(stream_, bhttp::make_chunk(piece), token);
      co_return !error;
    }
    const auto [error, count] = co_await asio::async_write(stream_, piece, token);
    co_return !error;
  }

  asio::awaitable<bool> end() override {
    if (!chunked_) co_return true;
    const Deadline deadline(socket(), limits_.write_timeout_ms);
    const auto [error, count] = co_await asio::async_write(stream_, bhttp::make_chunk_last(), token);
    co_return !error;
  }

  asio::awaitable<void> closed() override {
    while (buffer_.size() == 0) {
      const auto [error] = co_await socket().async_wait(asio::socket_base::wait_read, token);
      if (error) co_return;
      uint8_t first = 0;
      const ssize_t seen = recv(socket().native_handle(), &first, 1, MSG_PEEK | MSG_DONTWAIT);
      if (seen == 0 || (seen < 0 && errno != EAGAIN && errno != EINTR)) co_return;
      if (seen > 0 && is_tls && first == tls_alert) co_return;
      if (seen > 0) break;
    }
    // The client sends its next request before it has this answer: it gets this answer, then the connection closes. Once the answer's
    // head has promised that it stays open, what comes is the next request, however little of the answer is still to be cleared up.
    if (!head_sent_) keep_alive_ = false;
    asio::steady_timer never(stream_.get_executor(), asio::steady_timer::time_point::max());
    co_await never.async_wait(token);
  }

 private:
  static constexpr bool is_tls = std::is_same_v<Stream, TlsStream>;

  Socket& socket() {
    if constexpr (is_tls) {
      return stream_.next_layer();
    } else {
      return stream_;
    }
  }

  template <class Message>
  void fill_head(const Request& request, const Response& response, Message& message) {
    if (service_.draining()) keep_alive_ = false;
    if (!response.content_type.empty()) message.set(bhttp::field::content_type, response.content_type);
    message.set("x-request-id", request.id);
    HeaderList headers = response.headers;
    service_.add_headers(request, headers);
    for (const auto& [name, value] : headers) message.set(name, value);
    message.keep_alive(keep_alive_);
    head_sent_ = true;
  }

  // Answers with a problem and ends the connection: what follows on it cannot be trusted to be a request.
  asio::awaitable<bool> refuse(const Request& request, const Problem& problem) {
    keep_alive_ = false;
    service_.note_refused(request, problem);
    const Response response = problem_response(service_.protocol_of(request), problem, request.id);
    co_await respond(request, response);
    co_return false;
  }

  // False: close the connection.
  asio::awaitable<bool> one_request() {
    if (buffer_.size() == 0) {
      if (requests_++ > 0 && service_.draining()) co_return false;
      const Deadline deadline(socket(), limits_.idle_timeout_ms);
      live_.idle = true;
      const auto [error, count] = co_await stream_.async_read_some(buffer_.prepare(4'096), token);
      live_.idle = false;
      if (error) co_return false;
      buffer_.commit(count);
    }
    head_sent_ = false;
    bhttp::request_parser<bhttp::string_body> parser;
    parser.header_limit(limits_.header_bytes_max);
    parser.body_limit(boost::none);
    Request request;
    request.from_local_socket = from_local_socket_;
    {
      const Deadline deadline(socket(), limits_.head_timeout_ms);
      const auto [error, count] = co_await bhttp::async_read_header(stream_, buffer_, parser, token);
      // Beast holds a head that came in few pieces to its limit only roughly.
      const bool too_large = !error && head_bytes(parser.get()) > limits_.header_bytes_max;
      if (error || too_large) {
        request.id = make_request_id();
        const Problem problem = head_problem(too_large ? error_code(bhttp::error::header_limit) : error, deadline.expired());
        if (problem.status == 0) co_return false;
        co_await refuse(request, problem);
        co_return false;
      }
    }
    version_ = parser.get().version() == 10 ? 10 : 11;
    keep_alive_ = parser.get().keep_alive() && !service_.draining();
    const auto target = parser.get().target();
    const auto method = parser.get().method();
    const std::string target_text(target.data(), target.size());
    const auto head = read_head(method, target_text, parser.get().base(), request);
    if (!head) {
      co_await refuse(request, head.error());
      co_return false;
    }
    auto caller = service_.authorize(request);
    if (!caller) {
      const bool goes_on = co_await refused(request, parser, caller.error());
      co_return goes_on;
    }
    const bool has_body = co_await read_body(request, parser, (*caller)->body_bytes_max);
    if (!has_body) co_return false;
    request.keep_alive = keep_alive_;
    request.body = std::move(parser.get().body());
    if (buffer_.size() > 0) keep_alive_ = false;
    const Served served = co_await service_.serve(request, std::move(*caller), *this);
    co_return keep_alive_ && !served.client_gone && buffer_.size() == 0;
  }

  static size_t head_bytes(const bhttp::request<bhttp::string_body>& head) {
    constexpr size_t separators = 4;  // ": " and a line end
    size_t bytes = head.method_string().size() + head.target().size();
    for (const auto& field : head) bytes += field.name_string().size() + field.value().size() + separators;
    return bytes;
  }

  // Status 0: there is nobody to tell.
  Problem head_problem(error_code error, bool expired) const {
    if (error == bhttp::error::header_limit || error == bhttp::error::buffer_overflow) {
      return {431, "headers_too_large", "the header is larger than " + std::to_string(limits_.header_bytes_max) + " bytes"};
    }
    if (expired) return {408, "head_timeout", "the header took longer than " + std::to_string(limits_.head_timeout_ms) + " ms"};
    if (is_malformed(error)) return {400, "malformed_request", "not a valid HTTP/1.1 request: " + error.message()};
    return {0, "", ""};
  }

  static bool is_malformed(error_code error) {
    return error.category() == bhttp::make_error_code(bhttp::error::bad_value).category() && error != bhttp::error::end_of_stream &&
           error != bhttp::error::partial_message;
  }

  Problem body_problem(error_code error, bool expired, uint64_t bytes_max) const {
    if (error == bhttp::error::body_limit)
      return {413, "body_too_large", "the body is larger than " + std::to_string(bytes_max) + " bytes"};
    if (expired) return {408, "body_timeout", "the body took longer than " + std::to_string(limits_.body_timeout_ms) + " ms"};
    if (is_malformed(error)) return {400, "malformed_body", "not a valid HTTP/1.1 body: " + error.message()};
    return {0, "", ""};
  }

  // Refused on its head. A small body may follow on a connection worth keeping; otherwise it is closed.
  asio::awaitable<bool> refused(const Request& request, bhttp::request_parser<bhttp::string_body>& parser, const Problem& problem) {
    const bool has_body = parser.chunked() || parser.content_length().value_or(0) > 0;
    if (has_body || buffer_.size() > 0) co_return co_await refuse(request, problem);
    service_.note_refused(request, problem);
    const bool sent = co_await respond(request, problem_response(service_.protocol_of(request), problem, request.id));
    co_return sent&& keep_alive_;
  }

  asio::awaitable<bool> read_body(const Request& request, bhttp::request_parser<bhttp::string_body>& parser, uint64_t bytes_max) {
    error_code error;
    bool expired = false;
    if (parser.content_length().value_or(0) > bytes_max) {
      error = bhttp::error::body_limit;
    } else {
      if (parser.is_done()) co_return true;
      parser.body_limit(bytes_max);
      if (beast::iequals(parser.get()[bhttp::field::expect], "100-continue")) {
        const bool sent = co_await send_continue();
        if (!sent) co_return false;
      }
      const Deadline deadline(socket(), limits_.body_timeout_ms);
      const auto [failed, count] = co_await bhttp::async_read(stream_, buffer_, parser, token);
      if (!failed) co_return true;
      error = failed;
      expired = deadline.expired();
    }
    const Problem problem = body_problem(error, expired, bytes_max);
    if (problem.status != 0) co_await refuse(request, problem);
    co_return false;
  }

  asio::awaitable<bool> send_continue() {
    bhttp::response<bhttp::empty_body> message{bhttp::status::continue_, 11};
    bhttp::serializer<false, bhttp::empty_body> serializer{message};
    const auto [error, count] = co_await bhttp::async_write(stream_, serializer, token);
    co_return !error;
  }

  asio::awaitable<void> close() {
    const Deadline deadline(socket(), linger_ms);
    if constexpr (is_tls) co_await stream_.async_shutdown(token);
    error_code closed;
    socket().shutdown(asio::socket_base::shutdown_send, closed);
    size_t drained = 0;
    char scrap[4'096];
    while (!closed && !deadline.expired() && drained < linger_bytes_max) {
      const auto [error, count] = co_await socket().async_read_some(asio::buffer(scrap), token);
      if (error) break;
      drained += count;
    }
    socket().close(closed);
  }

  Stream& stream_;
  const bool from_local_socket_;
  Service& service_;
  const HttpLimits& limits_;
  LiveConnection& live_;
  beast::flat_buffer buffer_{64u << 10};
  uint64_t requests_ = 0;
  unsigned version_ = 11;
  bool keep_alive_ = false;
  bool chunked_ = false;
  bool head_sent_ = false;  // of the answer to this request
};

}  // namespace

asio::awaitable<void> serve_connection(Socket socket, asio::ssl::context* tls, bool from_local_socket, Service& service,
                                       const HttpLimits& limits, std::shared_ptr<LiveConnection> live) {
  if (tls == nullptr) {
    Connection<Socket> connection(socket, from_local_socket, service, limits, *live);
    co_await connection.run();
    co_return;
  }
  TlsStream stream(std::move(socket), *tls);
  {
    const Deadline deadline(stream.next_layer(), limits.head_timeout_ms);
    const auto [error] = co_await stream.async_handshake(asio::ssl::stream_base::server, token);
    if (error) co_return;
  }
  Connection<TlsStream> connection(stream, from_local_socket, service, limits, *live);
  co_await connection.run();
}

}  // namespace realm::http
