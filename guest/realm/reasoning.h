// Tells a model's reasoning from its answer: what stands between two marks at the beginning.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace realm {

struct ReasoningMarks {
  std::string_view open;  // empty: the family does not reason apart from the answer
  std::string_view close;
  std::vector<std::string_view> ends;     // what ends reasoning too, and belongs to what follows
  std::vector<std::string_view> dropped;  // marks around the answer that are no part of it
};

class ReasoningSplitter {
 public:
  // `inside`: the prompt has opened the reasoning already.
  ReasoningSplitter(ReasoningMarks marks, bool inside) : marks_(std::move(marks)), state_(inside ? State::entering : State::before) {}

  // Adds text; what is certain goes to where it belongs. Spaces at the ends of reasoning and after it belong to neither.
  void add(std::string_view text, std::string& reasoning, std::string& answer);
  void finish(std::string& reasoning, std::string& answer);

  bool is_inside() const { return state_ == State::entering || state_ == State::inside; }

 private:
  enum class State { before, entering, inside, leaving, answering };
  struct Found {
    size_t at = std::string::npos;
    size_t length = 0;
  };

  bool step(std::string& reasoning, std::string& answer, bool at_end);
  bool step_before(bool at_end);
  bool step_entering(bool at_end);
  bool step_inside(std::string& reasoning, bool at_end);
  bool step_leaving(bool at_end);
  bool step_answering(std::string& answer, bool at_end);

  const ReasoningMarks marks_;
  State state_;
  std::string held_;
};

}  // namespace realm
