#include "realm/recipient_answer.h"

#include <algorithm>

#include "realm/call_text.h"

namespace realm {
namespace {

constexpr std::string_view mark = ">>>", all = "all";
constexpr size_t name_bytes_max = 256;

}  // namespace

bool RecipientAnswer::is_recipient(const std::string& name) const {
  return name == all || (options_.finds_calls && options_.tools.contains(name));
}

void RecipientAnswer::give(std::string_view text, AnswerPieces& out) { (body_ == Body::call ? arguments_ : out.text) += text; }

// A line with a recipient, or else the body before it goes on.
bool RecipientAnswer::step_recipient(AnswerPieces& out, bool at_end) {
  const size_t line = held_.find('\n');
  if (line == std::string::npos && !at_end && held_.size() <= name_bytes_max) return false;
  const std::string name(trimmed(std::string_view(held_).substr(0, line)));
  at_recipient_ = false;
  if (line == std::string::npos || !is_recipient(name)) {
    if (body_ == Body::none) {
      body_ = Body::text;
    } else {
      give(mark, out);
    }
    return true;
  }
  close(out);
  held_.erase(0, line + 1);
  body_ = name == all ? Body::text : Body::call;
  called_ = name;
  return true;
}

bool RecipientAnswer::step_body(AnswerPieces& out, bool at_end) {
  const size_t at = held_.find(mark);
  const bool found = at != std::string::npos;
  size_t keep = std::min(mark.size() - 1, held_.size());
  while (keep > 0 && (at_end || !held_.ends_with(mark.substr(0, keep)))) --keep;
  const size_t certain = found ? at : held_.size() - keep;
  give(std::string_view(held_).substr(0, certain), out);
  held_.erase(0, found ? at + mark.size() : certain);
  at_recipient_ = found;
  return found;
}

// Arguments that are none are shown as they came.
void RecipientAnswer::close(AnswerPieces& out) {
  if (body_ == Body::call && !read_call(called_, trimmed(arguments_), options_.tools, out.calls)) {
    out.text += called_ + "\n" + arguments_;
  }
  arguments_.clear();
}

bool RecipientAnswer::step(AnswerPieces& out, bool at_end) { return at_recipient_ ? step_recipient(out, at_end) : step_body(out, at_end); }

void RecipientAnswer::add(std::string_view text, AnswerPieces& out) {
  held_ += text;
  while (step(out, false)) {
  }
}

void RecipientAnswer::finish(AnswerPieces& out) {
  while (step(out, true)) {
  }
  close(out);
}

}  // namespace realm
