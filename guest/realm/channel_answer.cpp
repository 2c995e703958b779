#include "realm/channel_answer.h"

#include <algorithm>
#include <array>

#include "realm/call_text.h"

namespace realm {
namespace {

constexpr std::string_view message = "<|message|>", channel = "<|channel|>", start = "<|start|>", recipient = " to=";
// What ends a message.
constexpr std::array ends = {std::string_view("<|end|>"), std::string_view("<|call|>"), std::string_view("<|return|>"), start};
constexpr size_t header_bytes_max = 512;

bool may_be_header(std::string_view text) {
  for (const std::string_view begin : {channel, start, message, recipient}) {
    if (text.starts_with(begin) || begin.starts_with(text)) return true;
  }
  return false;
}

// What follows `mark` for the last time, up to a space or another mark.
std::string_view last_after(std::string_view header, std::string_view mark) {
  const size_t at = header.rfind(mark);
  if (at == std::string_view::npos) return {};
  header.remove_prefix(at + mark.size());
  return header.substr(0, header.find_first_of(" <\n"));
}

}  // namespace

ChannelAnswer::ChannelAnswer(const ReaderOptions& options)
    : options_(options), state_(options.start == AnswerStart::in_text ? State::text : State::header) {}

void ChannelAnswer::open(std::string_view header, AnswerPieces& out) {
  const std::string_view to = last_after(header, "to=");
  const std::string_view of = last_after(header, channel);
  constexpr std::string_view functions = "functions.";
  called_.clear();
  arguments_.clear();
  if (!to.empty() && to != "assistant") {
    called_ = to.starts_with(functions) ? to.substr(functions.size()) : std::string_view();
    state_ = options_.finds_calls && options_.tools.contains(called_) ? State::call : State::nobody;
  } else if (of == "analysis") {
    state_ = options_.reasoning_apart ? State::reasoning : State::text;
    framed_ = !options_.reasoning_apart;
    if (framed_) out.text += std::string(channel) + "analysis" + std::string(message);
  } else {
    state_ = State::text;
  }
}

// False when more text is needed first.
bool ChannelAnswer::step_header(AnswerPieces& out, bool at_end) {
  const size_t at = held_.find(message);
  const bool has_end = at != std::string::npos;
  // Whether it is a header must not hang on how much of it has come.
  const size_t longest = has_end ? header_bytes_max : header_bytes_max + message.size() - 1;
  if (may_be_header(held_) && (has_end ? at : held_.size()) <= longest) {
    if (has_end) {
      open(std::string_view(held_).substr(0, at), out);
      held_.erase(0, at + message.size());
      return true;
    }
    if (at_end) held_.clear();  // a header without a message
    return false;
  }
  state_ = State::text;
  return true;
}

void ChannelAnswer::give(std::string_view body, AnswerPieces& out) {
  if (state_ == State::reasoning) out.reasoning += body;
  if (state_ == State::text) out.text += body;
  if (state_ == State::call) arguments_ += body;
}

// The message is over.
void ChannelAnswer::close(AnswerPieces& out) {
  if (framed_) out.text += ends.front();
  framed_ = false;
  if (state_ == State::call) read_call(called_, trimmed(arguments_), options_.tools, out.calls);
  state_ = State::header;
}

bool ChannelAnswer::step_body(AnswerPieces& out, bool at_end) {
  size_t at = std::string::npos, length = 0, keep = 0;
  for (const std::string_view end : ends) {
    if (const size_t found = held_.find(end); found < at) {
      at = found;
      length = end == start ? 0 : end.size();
    }
    for (size_t part = std::min(end.size() - 1, held_.size()); part > keep; --part) {
      if (held_.ends_with(end.substr(0, part))) keep = part;
    }
  }
  const bool over = at != std::string::npos;
  const size_t certain = over ? at : held_.size() - (at_end ? 0 : keep);
  give(std::string_view(held_).substr(0, certain), out);
  held_.erase(0, certain + (over ? length : 0));
  if (over || at_end) close(out);
  return over;
}

bool ChannelAnswer::step(AnswerPieces& out, bool at_end) {
  return state_ == State::header ? step_header(out, at_end) : step_body(out, at_end);
}

void ChannelAnswer::add(std::string_view text, AnswerPieces& out) {
  held_ += text;
  while (step(out, false)) {
  }
}

void ChannelAnswer::finish(AnswerPieces& out) {
  while (step(out, true)) {
  }
}

}  // namespace realm
