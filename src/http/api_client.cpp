#include "http/api_client.h"

#include <curl/curl.h>
#include <sys/un.h>

#include <memory>

namespace realm::http {
namespace {

constexpr size_t answer_bytes_max = 64u << 20;
constexpr uint16_t first_failure = 300;

struct CurlDelete {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

struct Receiver {
  CURL* handle;
  const ApiCall& call;
  std::string collected;

  static size_t on_bytes(char* bytes, size_t size, size_t count, void* self) {
    auto& receiver = *static_cast<Receiver*>(self);
    const std::string_view piece(bytes, size * count);
    long status = 0;
    curl_easy_getinfo(receiver.handle, CURLINFO_RESPONSE_CODE, &status);
    if (receiver.call.on_body && status < first_failure) return receiver.call.on_body(piece) ? piece.size() : 0;
    if (piece.size() > answer_bytes_max - receiver.collected.size()) return 0;
    receiver.collected += piece;
    return piece.size();
  }
};

}  // namespace

Result<Response> call_api(const Endpoint& endpoint, const ApiCall& call) {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::unique_ptr<CURL, CurlDelete> curl(started == CURLE_OK ? curl_easy_init() : nullptr);
  if (!curl) return fail(ErrorCode::io, "the HTTP client could not be started");
  CURL* handle = curl.get();
  const bool local = !endpoint.socket.empty();
  const std::string place = local ? endpoint.socket.string() : endpoint.url;
  if (local && place.size() >= sizeof(sockaddr_un::sun_path)) return fail(ErrorCode::unavailable, "no server listens on " + place);
  const std::string url = (local ? "http://localhost" : endpoint.url) + call.target;
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "realm");
  curl_easy_setopt(handle, CURLOPT_TIMEOUT, call.timeout_s);
  if (local) {
    curl_easy_setopt(handle, CURLOPT_UNIX_SOCKET_PATH, place.c_str());
    curl_easy_setopt(handle, CURLOPT_PROXY, "");
  }
  if (!endpoint.key.empty()) {
    curl_easy_setopt(handle, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(handle, CURLOPT_XOAUTH2_BEARER, endpoint.key.c_str());
  }
  const auto method = boost::beast::http::to_string(call.method);
  const std::string method_text(method.data(), method.size());
  curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, method_text.c_str());
  std::unique_ptr<curl_slist, CurlDelete> headers(curl_slist_append(nullptr, "Expect:"));
  if (!call.body.empty()) {
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, call.body.data());
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(call.body.size()));
  }
  for (const auto& [name, value] : call.headers) headers.reset(curl_slist_append(headers.release(), (name + ": " + value).c_str()));
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  Receiver receiver{handle, call, {}};
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &receiver);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &Receiver::on_bytes);
  const CURLcode code = curl_easy_perform(handle);
  if (code == CURLE_COULDNT_CONNECT) return fail(ErrorCode::unavailable, "no server listens on " + place);
  if (code != CURLE_OK) return fail(ErrorCode::io, "the server on " + place + " did not answer: " + curl_easy_strerror(code));
  long status = 0;
  const char* content_type = nullptr;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(handle, CURLINFO_CONTENT_TYPE, &content_type);
  return Response{.status = static_cast<uint16_t>(status),
                  .content_type = content_type == nullptr ? "" : content_type,
                  .body = std::move(receiver.collected)};
}

}  // namespace realm::http
