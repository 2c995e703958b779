#include "http/response_stream.h"

#include <algorithm>
#include <utility>

namespace realm::http {

void append_event(std::string& out, std::string_view name, std::string_view data) {
  if (!name.empty()) {
    out += "event: ";
    for (const char c : name) {
      if (c != '\n' && c != '\r') out += c;
    }
    out += '\n';
  }
  // A line may end in CR, LF or CRLF; each becomes a data line of its own.
  size_t at = 0;
  do {
    const size_t end = std::min(data.find_first_of("\r\n", at), data.size());
    out += "data: ";
    out.append(data.substr(at, end - at));
    out += '\n';
    at = end + (data.substr(end).starts_with("\r\n") ? 2 : 1);
  } while (at < data.size());
  out += '\n';
}

// At most: each line of the data begins anew.
size_t framed_bytes_max(std::string_view name, std::string_view data) {
  constexpr size_t line_bytes = 8;
  const auto breaks = std::count_if(data.begin(), data.end(), [](char c) { return c == '\n' || c == '\r'; });
  return name.size() + data.size() + (static_cast<size_t>(breaks) + 2) * line_bytes;
}

runtime::EmitResult ResponseStream::append(std::string_view bytes, bool event, std::string_view name) {
  {
    std::lock_guard lock(mutex_);
    if (abandoned_) return runtime::EmitResult::gone;
    if (content_ == runtime::Content::events) {
      if (bytes_.size() >= limits_.stream_buffer_bytes_max) {
        was_full_ = true;
        return runtime::EmitResult::full;
      }
      if (event && framed_bytes_max(name, bytes) > limits_.response_bytes_max) return runtime::EmitResult::gone;
    } else if (bytes.size() > limits_.response_bytes_max - bytes_.size()) {
      return runtime::EmitResult::gone;
    }
    event ? append_event(bytes_, name, bytes) : static_cast<void>(bytes_.append(bytes));
    if (!event) return runtime::EmitResult::accepted;
  }
  on_change_();
  return runtime::EmitResult::accepted;
}

runtime::EmitResult ResponseStream::on_text(std::string_view utf8) { return append(utf8, false, {}); }
runtime::EmitResult ResponseStream::on_summary(std::string_view) { return runtime::EmitResult::accepted; }
runtime::EmitResult ResponseStream::on_body(std::string_view bytes) { return append(bytes, false, {}); }
runtime::EmitResult ResponseStream::on_event(std::string_view name, std::string_view data) { return append(data, true, name); }

void ResponseStream::on_head(uint16_t status, runtime::Content content) {
  std::lock_guard lock(mutex_);
  head_ = true;
  status_ = status;
  content_ = content;
}

void ResponseStream::on_end(Result<void> result, const runtime::GenerationStats& stats) {
  on_end_(result, stats);
  {
    std::lock_guard lock(mutex_);
    ended_ = std::move(result);
  }
  on_change_();
  const auto last = std::move(self_);  // may destroy this
}

ResponseStream::Taken ResponseStream::take() {
  std::lock_guard lock(mutex_);
  Taken taken{.head = head_, .status = status_, .content = content_, .bytes = {}, .made_room = false, .ended = ended_};
  if (content_ == runtime::Content::events || ended_) taken.bytes = std::exchange(bytes_, {});
  taken.made_room = std::exchange(was_full_, false);
  return taken;
}

void ResponseStream::abandon() {
  std::lock_guard lock(mutex_);
  abandoned_ = true;
}

}  // namespace realm::http
