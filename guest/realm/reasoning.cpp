#include "realm/reasoning.h"

#include <algorithm>

#include "realm/call_text.h"

namespace realm {
namespace {

// The length of the longest end of `text` that may be the beginning of `mark`.
size_t possible(std::string_view text, std::string_view mark) {
  for (size_t length = mark.empty() ? 0 : std::min(mark.size() - 1, text.size()); length > 0; --length) {
    if (text.ends_with(mark.substr(0, length))) return length;
  }
  return 0;
}

void skip_spaces(std::string& text) { text.erase(0, std::min(text.find_first_not_of(spaces), text.size())); }

}  // namespace

// Spaces, then the opening mark, or else the answer.
bool ReasoningSplitter::step_before(bool at_end) {
  const std::string_view rest = trimmed(held_);
  if (!marks_.open.empty() && rest.starts_with(marks_.open)) {
    held_.erase(0, held_.find(marks_.open) + marks_.open.size());
    state_ = State::entering;
    return true;
  }
  if (!at_end && !marks_.open.empty() && marks_.open.starts_with(rest)) return false;
  state_ = State::answering;
  return true;
}

// A model may write the opening mark although the prompt ends in it.
bool ReasoningSplitter::step_entering(bool at_end) {
  skip_spaces(held_);
  if (held_.starts_with(marks_.open)) {
    held_.erase(0, marks_.open.size());
    return true;
  }
  if (!at_end && (held_.empty() || marks_.open.starts_with(held_))) return false;
  state_ = State::inside;
  return true;
}

bool ReasoningSplitter::step_inside(std::string& reasoning, bool at_end) {
  Found found{.at = held_.find(marks_.close), .length = marks_.close.size()};
  size_t keep = possible(held_, marks_.close);
  for (const std::string_view end : marks_.ends) {
    if (const size_t at = held_.find(end); at < found.at) found = {.at = at, .length = 0};
    keep = std::max(keep, possible(held_, end));
  }
  const bool over = found.at != std::string::npos;
  const size_t certain = over ? found.at : held_.size() - (at_end ? 0 : keep);
  const size_t last = certain == 0 ? std::string::npos : held_.find_last_not_of(spaces, certain - 1);
  const size_t given = last == std::string::npos ? 0 : last + 1;
  reasoning += held_.substr(0, given);
  held_.erase(0, over ? found.at + found.length : at_end ? held_.size() : given);
  if (over) state_ = State::leaving;
  return over;
}

bool ReasoningSplitter::step_leaving(bool at_end) {
  skip_spaces(held_);
  if (held_.empty() && !at_end) return false;
  state_ = State::answering;
  return true;
}

bool ReasoningSplitter::step_answering(std::string& answer, bool at_end) {
  Found found;
  size_t keep = 0;
  for (const std::string_view mark : marks_.dropped) {
    if (const size_t at = held_.find(mark); at < found.at) found = {.at = at, .length = mark.size()};
    keep = std::max(keep, possible(held_, mark));
  }
  const bool one = found.at != std::string::npos;
  const size_t certain = one ? found.at : held_.size() - (at_end ? 0 : keep);
  answer += held_.substr(0, certain);
  held_.erase(0, one ? found.at + found.length : certain);
  return one;
}

bool ReasoningSplitter::step(std::string& reasoning, std::string& answer, bool at_end) {
  switch (state_) {
    case State::before:
      return step_before(at_end);
    case State::entering:
      return step_entering(at_end);
    case State::inside:
      return step_inside(reasoning, at_end);
    case State::leaving:
      return step_leaving(at_end);
    case State::answering:
      break;
  }
  return step_answering(answer, at_end);
}

void ReasoningSplitter::add(std::string_view text, std::string& reasoning, std::string& answer) {
  held_ += text;
  while (step(reasoning, answer, false)) {
  }
}

void ReasoningSplitter::finish(std::string& reasoning, std::string& answer) {
  while (step(reasoning, answer, true)) {
  }
}

}  // namespace realm
