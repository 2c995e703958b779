#include "http/admin_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

namespace realm::http {
namespace {

namespace asio = boost::asio;
namespace bhttp = boost::beast::http;

constexpr long timeout_s = 30;
constexpr uint64_t answer_bytes_max = 64u << 20;

}  // namespace

Result<Response> call_admin(const std::filesystem::path& path, const AdminCall& call) {
  asio::io_context context;
  asio::local::stream_protocol::socket socket(context);
  boost::system::error_code error;
  if (path.native().size() < sizeof(sockaddr_un::sun_path)) {
    socket.connect(asio::local::stream_protocol::endpoint(path.string()), error);
  } else {
    error = asio::error::name_too_long;
  }
  if (error) return fail(ErrorCode::unavailable, "no server listens on " + path.string() + ": " + error.message());
  const timeval limit{timeout_s, 0};
  setsockopt(socket.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(socket.native_handle(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);

  bhttp::request<bhttp::string_body> request{call.method, "/admin/v1/" + call.path + (call.query.empty() ? "" : "?" + call.query), 11};
  request.set(bhttp::field::host, "localhost");
  request.keep_alive(false);
  if (!call.body.empty()) {
    request.set(bhttp::field::content_type, "application/json");
    request.body() = call.body;
  }
  request.prepare_payload();
  bhttp::write(socket, request, error);
  boost::beast::flat_buffer buffer;
  bhttp::response_parser<bhttp::string_body> parser;
  parser.body_limit(answer_bytes_max);
  if (!error) bhttp::read(socket, buffer, parser, error);
  if (error) return fail(ErrorCode::io, "the server on " + path.string() + " did not answer: " + error.message());
  return Response{.status = static_cast<uint16_t>(parser.get().result_int()), .body = std::move(parser.get().body())};
}

}  // namespace realm::http
