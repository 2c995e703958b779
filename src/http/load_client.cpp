#include "http/load_client.h"

#include <curl/curl.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <memory>
#include <random>
#include <utility>

#include "base/clock.h"
#include "base/filler_text.h"

namespace realm::http {
namespace {

namespace json = boost::json;

constexpr size_t line_bytes_max = 1u << 20;
constexpr size_t complaint_bytes_max = 300;
constexpr long http_failure_min = 300;
constexpr int poll_ms_max = 100;
constexpr double ns_per_s = 1e9;

struct CurlDelete {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
struct MultiDelete {
  void operator()(CURLM* handle) const { curl_multi_cleanup(handle); }
};

// One chat at a time.
struct Stream {
  std::unique_ptr<CURL, CurlDelete> handle;
  std::unique_ptr<curl_slist, CurlDelete> headers;
  uint32_t next_chat = 0;  // each stream has its own, so that a customer is not served by what others leave free
  bool chatting = false;
  bool sent = false;
  int64_t due_ns = 0;   // of the request that comes next
  std::mt19937 random;  // the chat's own, so that what it says does not depend on when
  json::array messages;
  uint32_t turn = 0;
  uint32_t answer_tokens = 0;

  std::string body;
  std::string line;  // that has not ended
  std::string answer;
  std::string complaint;  // the body of an answer that is a failure
  bool complete = false;
  LoadRecord record;
};

const json::value* at(const json::value& value, const char* pointer) {
  boost::system::error_code error;
  return value.find_pointer(pointer, error);
}

std::string complaint_of(std::string_view body) {
  boost::system::error_code error;
  const json::value value = json::parse(body, error);
  if (!error) {
    if (const auto message = at(value, "/error/message"); message && message->is_string()) return std::string(message->as_string());
  }
  return std::string(body.substr(0, complaint_bytes_max));
}

// One event of an answer, without "data: ".
void read_event(Stream& stream, std::string_view text, int64_t now_ns) {
  if (text == "[DONE]") {
    stream.complete = true;
    return;
  }
  boost::system::error_code error;
  const json::value event = json::parse(text, error);
  if (error) return;
  if (at(event, "/error") != nullptr) stream.record.failure = complaint_of(text);
  if (const auto content = at(event, "/choices/0/delta/content"); content && content->is_string() && !content->as_string().empty()) {
    stream.record.pieces_ns.push_back(now_ns);
    stream.answer += content->as_string();
  }
  const auto count = [&event](const char* pointer) {
    const json::value* value = at(event, pointer);
    return value != nullptr && value->is_number() ? value->to_number<uint64_t>() : 0;
  };
  if (const uint64_t tokens = count("/usage/prompt_tokens")) stream.record.prompt_tokens = tokens;
  if (const uint64_t tokens = count("/usage/completion_tokens")) stream.record.completion_tokens = tokens;
}

size_t on_bytes(char* bytes, size_t size, size_t count, void* of) {
  auto& stream = *static_cast<Stream*>(of);
  const int64_t now_ns = monotonic_ns();
  long status = 0;
  curl_easy_getinfo(stream.handle.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status >= http_failure_min) {
    stream.complaint.append(bytes, std::min(size * count, line_bytes_max - stream.complaint.size()));
    return size * count;
  }
  stream.line.append(bytes, size * count);
  size_t begin = 0;
  for (size_t end = stream.line.find('\n'); end != std::string::npos; end = stream.line.find('\n', begin)) {
    std::string_view line(stream.line.data() + begin, end - begin);
    begin = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.starts_with("data:")) continue;
    line.remove_prefix(5);
    if (line.starts_with(' ')) line.remove_prefix(1);
    read_event(stream, line, now_ns);
  }
  stream.line.erase(0, begin);
  return stream.line.size() <= line_bytes_max ? size * count : 0;
}

class Load {
 public:
  Load(const LoadOptions& options, const std::atomic<bool>& stop)
      : options_(options), stop_(stop), random_(options.seed), multi_(curl_multi_init()), streams_(options.streams) {}

  Result<std::vector<LoadRecord>> run() {
    if (auto ready = prepare(); !ready) return fail(std::move(ready));
    while (!is_over()) {
      const int64_t next_ns = send_what_is_due();
      int running = 0;
      curl_multi_perform(multi_.get(), &running);
      if (take_finished()) continue;
      const auto wait_ms = static_cast<int>(std::clamp<int64_t>((next_ns - monotonic_ns()) / 1'000'000, 0, poll_ms_max));
      curl_multi_poll(multi_.get(), nullptr, 0, wait_ms, nullptr);
    }
    for (Stream& stream : streams_) {
      if (stream.sent) curl_multi_remove_handle(multi_.get(), stream.handle.get());
    }
    return std::move(records_);
  }

 private:
  Result<> prepare() {
    if (!multi_) return fail(ErrorCode::io, "the HTTP client could not be started");
    raise_descriptor_limit();
    curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(options_.streams));
    url_ = options_.url;
    while (url_.ends_with('/')) url_.pop_back();
    if (url_.ends_with("/v1")) url_.resize(url_.size() - 3);
    url_ += "/v1/chat/completions";
    if (auto fields = read_more_fields(); !fields) return fail(std::move(fields));
    const int64_t now_ns = monotonic_ns();
    arrival_ns_ = now_ns + (options_.chats_per_second > 0 ? drawn_ns(1 / options_.chats_per_second, random_) : 0);
    for (uint32_t i = 0; i < options_.streams; ++i) {
      streams_[i].next_chat = i;
      if (!set_up(streams_[i])) return fail(ErrorCode::io, "the HTTP client could not be started");
    }
    return {};
  }

  Result<> read_more_fields() {
    if (options_.more_fields.empty()) return {};
    boost::system::error_code error;
    const json::value value = json::parse(options_.more_fields, error);
    if (error || !value.is_object()) return fail(ErrorCode::invalid_argument, "more fields: must be a JSON object");
    more_fields_ = value.as_object();
    return {};
  }

  static void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }

  bool set_up(Stream& stream) {
    stream.handle.reset(curl_easy_init());
    stream.headers.reset(curl_slist_append(nullptr, "Expect:"));
    stream.headers.reset(curl_slist_append(stream.headers.release(), "Content-Type: application/json"));
    CURL* handle = stream.handle.get();
    if (handle == nullptr) return false;
    curl_easy_setopt(handle, CURLOPT_URL, url_.c_str());
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_USERAGENT, "realm bench");
    curl_easy_setopt(handle, CURLOPT_TIMEOUT, static_cast<long>(options_.timeout_s));
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, stream.headers.get());
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &stream);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &on_bytes);
    curl_easy_setopt(handle, CURLOPT_PRIVATE, &stream);
    if (!options_.keys.empty()) curl_easy_setopt(handle, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    return true;
  }

  static int64_t drawn_ns(double mean_s, std::mt19937& random) {
    return mean_s > 0 ? static_cast<int64_t>(std::exponential_distribution<>(1 / mean_s)(random) * ns_per_s) : 0;
  }
  static uint32_t drawn(const LoadRange& range, std::mt19937& random) {
    return std::uniform_int_distribution<uint32_t>(range.least, range.most)(random);
  }

  bool is_over() const {
    if (stop_.load(std::memory_order_relaxed)) return true;
    return chats_ended_ == options_.chats;
  }

  // Returns when the next request is due.
  int64_t send_what_is_due() {
    const int64_t now_ns = monotonic_ns();
    int64_t next_ns = INT64_MAX;
    for (Stream& stream : streams_) {
      if (stream.sent || (!stream.chatting && !begin_chat(stream, now_ns))) continue;
      stream.due_ns <= now_ns ? send(stream) : void(next_ns = std::min(next_ns, stream.due_ns));
    }
    return next_ns;
  }

  bool begin_chat(Stream& stream, int64_t now_ns) {
    const bool arrives = options_.chats_per_second > 0;
    const uint32_t chat = arrives ? chats_arrived_ : stream.next_chat;
    if (chat >= options_.chats) return false;
    arrives ? ++chats_arrived_ : stream.next_chat += options_.streams;
    const uint32_t customers = std::max<uint32_t>(1, static_cast<uint32_t>(options_.keys.size()));
    stream.record.customer = (arrives ? chat : chat % options_.streams) % customers;
    if (!options_.keys.empty()) {
      curl_easy_setopt(stream.handle.get(), CURLOPT_XOAUTH2_BEARER, options_.keys[stream.record.customer].c_str());
    }
    stream.random.seed(options_.seed + chat);
    stream.due_ns = now_ns + drawn_ns(options_.pause_s, stream.random);
    if (arrives) {
      stream.due_ns = arrival_ns_;
      arrival_ns_ += drawn_ns(1 / options_.chats_per_second, random_);
    }
    stream.chatting = true;
    stream.turn = 0;
    stream.messages.clear();
    if (options_.system_words > 0) say(stream, "system", filler_text(options_.system_words, ~stream.record.customer));
    stream.answer_tokens = drawn(options_.answer_tokens, stream.random);
    ask(stream);
    return true;
  }

  static void say(Stream& stream, const char* role, std::string text) {
    stream.messages.push_back(json::object{{"role", role}, {"content", std::move(text)}});
  }

  void ask(Stream& stream) const {
    const uint32_t words = drawn(options_.prompt_words, stream.random);
    say(stream, "user", filler_text(words, static_cast<uint32_t>(stream.random())));
  }

  void send(Stream& stream) {
    json::object body = more_fields_;
    if (!options_.model.empty()) body["model"] = options_.model;
    body["messages"] = stream.messages;
    body["max_tokens"] = stream.answer_tokens;
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
    if (!options_.stop_at_end) body["ignore_eos"] = true;
    stream.body = json::serialize(body);
    stream.line.clear();
    stream.complaint.clear();
    stream.answer.clear();
    stream.complete = false;
    stream.record = {.customer = stream.record.customer, .turn = stream.turn, .due_ns = stream.due_ns};
    curl_easy_setopt(stream.handle.get(), CURLOPT_POSTFIELDS, stream.body.data());
    curl_easy_setopt(stream.handle.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(stream.body.size()));
    curl_multi_add_handle(multi_.get(), stream.handle.get());
    stream.sent = true;
  }

  bool take_finished() {
    bool any = false;
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      Stream* stream = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &stream);
      const CURLcode code = message->data.result;
      curl_multi_remove_handle(multi_.get(), stream->handle.get());
      finish(*stream, code);
      any = true;
    }
    return any;
  }

  void finish(Stream& stream, CURLcode code) {
    stream.sent = false;
    LoadRecord& record = stream.record;
    record.ended_ns = monotonic_ns();
    long status = 0;
    curl_easy_getinfo(stream.handle.get(), CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK) {
      record.failure = curl_easy_strerror(code);
    } else if (status >= http_failure_min) {
      record.failure = std::to_string(status) + ": " + complaint_of(stream.complaint);
    } else if (record.failure.empty() && !stream.complete) {
      record.failure = "the answer ended before its end";
    }
    stream.chatting = record.failure.empty() && ++stream.turn < options_.turns;
    records_.push_back(std::move(record));
    stream.record = {.customer = records_.back().customer};
    if (!stream.chatting) {
      ++chats_ended_;
      return;
    }
    say(stream, "assistant", stream.answer);
    ask(stream);
    stream.due_ns = records_.back().ended_ns + drawn_ns(options_.pause_s, stream.random);
  }

  const LoadOptions& options_;
  const std::atomic<bool>& stop_;
  std::mt19937 random_;
  std::unique_ptr<CURLM, MultiDelete> multi_;  // before the streams, whose handles it may still know
  std::vector<Stream> streams_;
  std::string url_;
  json::object more_fields_;
  uint32_t chats_ended_ = 0;
  uint32_t chats_arrived_ = 0;
  int64_t arrival_ns_ = 0;  // of the next chat
  std::vector<LoadRecord> records_;
};

Result<> check(const LoadOptions& options) {
  const auto bad = [](const char* what) { return fail(ErrorCode::invalid_argument, std::string("load: ") + what); };
  if (options.streams < 1 || options.streams > load_streams_max) return bad("streams must be 1 to 4096");
  if (options.chats < 1 || options.chats > load_chats_max) return bad("chats must be 1 to 100000");
  if (options.turns < 1) return bad("turns must be at least 1");
  if (options.prompt_words.least > options.prompt_words.most || options.prompt_words.least < 1) return bad("words of a prompt: 1 or more");
  if (options.answer_tokens.least > options.answer_tokens.most || options.answer_tokens.least < 1) return bad("tokens: 1 or more");
  return {};
}

}  // namespace

Result<std::vector<LoadRecord>> run_load(const LoadOptions& options, const std::atomic<bool>& stop) {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (auto checked = check(options); !checked) return fail(std::move(checked));
  if (started != CURLE_OK) return fail(ErrorCode::io, "the HTTP client could not be started");
  return Load(options, stop).run();
}

}  // namespace realm::http
