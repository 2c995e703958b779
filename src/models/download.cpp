#include "models/download.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "models/public_address.h"

namespace realm::models {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds retry_pause{500};  // times the attempt's number
constexpr uint64_t spare_bytes = 64ull << 20;          // that stay free on the disk

struct CurlHandle {
  CURL* handle = curl_easy_init();
  curl_slist* headers = nullptr;
  CurlHandle() = default;
  ~CurlHandle() {
    curl_slist_free_all(headers);
    curl_easy_cleanup(handle);
  }
  CurlHandle(const CurlHandle&) = delete;
  CurlHandle& operator=(const CurlHandle&) = delete;
};

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
  return text;
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
}

// One attempt: a request from `begin` on, its bytes appended to the open file.
class Attempt {
 public:
  Attempt(int file, uint64_t begin, const fs::path& etag_file, const DownloadOptions& options)
      : file_(file), begin_(begin), done_(begin), etag_file_(etag_file), options_(options) {}

  CURLcode run(const std::string& url, const std::string& known_etag) {
    CurlHandle curl;
    set_up(curl, url);
    if (begin_ > 0) {
      curl_easy_setopt(curl.handle, CURLOPT_RANGE, (std::to_string(begin_) + "-").c_str());
      curl.headers = curl_slist_append(curl.headers, ("If-Range: " + known_etag).c_str());
    }
    curl_easy_setopt(curl.handle, CURLOPT_HTTPHEADER, curl.headers);
    curl_ = curl.handle;
    const CURLcode code = curl_easy_perform(curl.handle);
    curl_easy_getinfo(curl.handle, CURLINFO_RESPONSE_CODE, &status_);
    curl_ = nullptr;
    return code;
  }

  uint64_t done() const { return done_; }
  long status() const { return status_; }
  bool was_refused_address() const { return refused_address_; }
  bool was_cancelled() const { return cancelled_; }
  const std::optional<Error>& error() const { return error_; }
  const std::string& sha256_stated() const { return sha256_stated_; }

 private:
  void set_up(CurlHandle& curl, const std::string& url) {
    CURL* handle = curl.handle;
    curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(handle, CURLOPT_MAXREDIRS, static_cast<long>(download_redirects_max));
    curl_easy_setopt(handle, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_USERAGENT, "realm");
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(download_connect_timeout_ms));
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, static_cast<long>(download_stall_timeout_s));
    curl_easy_setopt(handle, CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(download_bytes_max));
    if (const char* authorities = std::getenv("SSL_CERT_FILE"); authorities != nullptr && *authorities != '\0') {
      curl_easy_setopt(handle, CURLOPT_CAINFO, authorities);
    }
    if (!options_.bearer_token.empty()) {
      curl_easy_setopt(handle, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
      curl_easy_setopt(handle, CURLOPT_XOAUTH2_BEARER, options_.bearer_token.c_str());
    }
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, this);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &Attempt::on_bytes);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, this);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &Attempt::on_header);
    curl_easy_setopt(handle, CURLOPT_OPENSOCKETDATA, this);
    curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, &Attempt::on_socket);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, this);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, &Attempt::on_progress);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  }

  // Looked at for every connection, redirects included, after the name was resolved: no name can lead to an address that it hid before.
  static curl_socket_t on_socket(void* self, curlsocktype, curl_sockaddr* address) {
    auto& attempt = *static_cast<Attempt*>(self);
    if (!attempt.options_.allow_private && !is_public_address(address->addr)) {
      attempt.refused_address_ = true;
      return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  }

  static size_t on_header(char* data, size_t, size_t count, void* self) {
    auto& attempt = *static_cast<Attempt*>(self);
    const std::string_view line(data, count);
    if (line.starts_with("HTTP/")) {
      attempt.etag_.clear();
      attempt.range_begin_.reset();
      return count;
    }
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return count;
    const std::string name = lower(line.substr(0, colon));
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (name == "etag") attempt.etag_ = value;
    if (name == "content-range" && value.starts_with("bytes ")) {
      attempt.range_begin_ = std::strtoull(std::string(value.substr(6)).c_str(), nullptr, 10);
    }
    if (name == "x-linked-etag") {
      std::string stated = lower(value);
      std::erase(stated, '"');
      if (is_sha256(stated)) attempt.sha256_stated_ = std::move(stated);
    }
    return count;
  }

  static size_t on_bytes(char* data, size_t, size_t count, void* self) {
    return static_cast<Attempt*>(self)->take(data, count) ? count : CURL_WRITEFUNC_ERROR;
  }

  static int on_progress(void* self, curl_off_t total, curl_off_t now, curl_off_t, curl_off_t) {
    auto& attempt = *static_cast<Attempt*>(self);
    const auto begin = attempt.started_ ? attempt.begin_ : 0;
    attempt.cancelled_ =
        attempt.options_.progress && !attempt.options_.progress(attempt.started_ ? attempt.done_ : attempt.begin_,
                                                                total > 0 && now > 0 ? begin + static_cast<uint64_t>(total) : 0);
    return attempt.cancelled_ ? 1 : 0;
  }

  bool take(const char* data, size_t count) {
    if (!started_ && !start()) return false;
    if (done_ + count > download_bytes_max) return fail_with(ErrorCode::too_large, "the file is larger than 2 TiB");
    while (count > 0) {
      const ssize_t written = write(file_, data, count);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return fail_with(errno == ENOSPC ? ErrorCode::resource_exhausted : ErrorCode::io, std::strerror(errno));
      data += written;
      count -= static_cast<size_t>(written);
      done_ += static_cast<uint64_t>(written);
    }
    return true;
  }

  // The first byte: is it the one that was asked for?
  bool start() {
    started_ = true;
    long status = 0;
    curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
    if (status == 206 ? range_begin_ != begin_ : begin_ > 0) begin_ = done_ = 0;
    if (status == 206 && range_begin_ != begin_) return fail_with(ErrorCode::io, "the server answered with another range");
    if (ftruncate(file_, static_cast<off_t>(begin_)) != 0 || lseek(file_, 0, SEEK_END) < 0) {
      return fail_with(ErrorCode::io, std::strerror(errno));
    }
    curl_off_t length = -1;
    curl_easy_getinfo(curl_, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    std::error_code ignored;
    const auto space = fs::space(etag_file_.parent_path(), ignored);
    if (!ignored && length > 0 && static_cast<uint64_t>(length) + spare_bytes > space.available) {
      return fail_with(ErrorCode::resource_exhausted, "needs " + std::to_string(length >> 20) + " MiB more, and the disk has " +
                                                          std::to_string(space.available >> 20) + " MiB free");
    }
    std::ofstream(etag_file_, std::ios::trunc) << (etag_.starts_with('"') ? etag_ : "");  // a weak one promises no equal bytes
    return true;
  }

  bool fail_with(ErrorCode code, const std::string& message) {
    error_ = Error{code, message};
    return false;
  }

  const int file_;
  uint64_t begin_;
  uint64_t done_;
  const fs::path etag_file_;
  const DownloadOptions& options_;
  CURL* curl_ = nullptr;
  long status_ = 0;
  bool started_ = false;
  bool refused_address_ = false;
  bool cancelled_ = false;
  std::optional<Error> error_;
  std::string etag_;
  std::optional<uint64_t> range_begin_;
  std::string sha256_stated_;
};

// What an attempt's end means; nothing: try again.
std::optional<Error> verdict(const std::string& url, CURLcode code, const Attempt& attempt) {
  if (attempt.was_cancelled()) return Error{ErrorCode::cancelled, "stopped; the same command goes on where it ended"};
  if (attempt.error()) return Error{attempt.error()->code, url + ": " + attempt.error()->message};
  if (attempt.was_refused_address()) {
    return Error{ErrorCode::permission_denied,
                 url + ": leads to an address of a private network; give --allow-private when that is what you want"};
  }
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_FILESIZE_EXCEEDED:
      return Error{ErrorCode::invalid_argument, url + ": " + curl_easy_strerror(code)};
    case CURLE_HTTP_RETURNED_ERROR:
      break;
    default:
      return std::nullopt;
  }
  const long status = attempt.status();
  const std::string answer = url + ": HTTP " + std::to_string(status);
  if (status == 404 || status == 410) return Error{ErrorCode::not_found, answer + ", there is no such file"};
  if (status == 401 || status == 403) {
    return Error{ErrorCode::permission_denied, answer + "; a token in HF_TOKEN may be needed"};
  }
  if (status >= 500 || status == 408 || status == 416 || status == 429) return std::nullopt;
  return Error{ErrorCode::unavailable, answer};
}

std::string first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

struct OpenFile {
  int descriptor;
  ~OpenFile() {
    if (descriptor >= 0) close(descriptor);
  }
};

}  // namespace

Result<Downloaded> download(const std::string& url, const fs::path& file, const DownloadOptions& options) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const fs::path part = file.string() + ".part";
  const fs::path etag_file = file.string() + ".etag";
  const OpenFile open_file{::open(part.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
  if (open_file.descriptor < 0) return fail(ErrorCode::io, part.string() + ": " + std::strerror(errno));
  Downloaded downloaded;
  for (uint32_t attempt_number = 1;;) {
    const std::string etag = first_line(etag_file);
    const off_t there = lseek(open_file.descriptor, 0, SEEK_END);
    const uint64_t begin = etag.empty() || there < 0 ? 0 : static_cast<uint64_t>(there);
    Attempt attempt(open_file.descriptor, begin, etag_file, options);
    const CURLcode code = attempt.run(url, etag);
    if (!attempt.sha256_stated().empty()) downloaded.sha256_stated = attempt.sha256_stated();
    if (code == CURLE_OK) {
      downloaded.bytes = attempt.done();
      break;
    }
    if (auto error = verdict(url, code, attempt)) return std::unexpected(std::move(*error));
    // A part that is longer than the content, or as long: nothing of it can be continued.
    if (attempt.status() == 416) fs::remove(etag_file);
    attempt_number = attempt.done() > begin ? 1 : attempt_number + 1;
    if (attempt_number > download_attempts_max) {
      return fail(ErrorCode::unavailable, url + ": " + curl_easy_strerror(code) + "; the same command goes on where it ended");
    }
    std::this_thread::sleep_for(retry_pause * attempt_number);
  }
  std::error_code error;
  if (fsync(open_file.descriptor) != 0) return fail(ErrorCode::io, part.string() + ": " + std::strerror(errno));
  fs::rename(part, file, error);
  if (error) return fail(ErrorCode::io, file.string() + ": " + error.message());
  fs::remove(etag_file, error);
  return downloaded;
}

}  // namespace realm::models
