// Answers of most families: reasoning between marks, then text with calls in it.
#pragma once

#include <optional>

#include "realm/answer_reader.h"
#include "realm/reasoning.h"
#include "realm/tool_calls.h"

namespace realm {

class TaggedAnswer : public AnswerReader {
 public:
  TaggedAnswer(const AnswerForm& form, const ReaderOptions& options);

  void add(std::string_view text, AnswerPieces& out) override;
  void finish(AnswerPieces& out) override;
  bool in_reasoning() const override { return splitter_ && splitter_->is_inside(); }

 private:
  void give(std::string_view answer, AnswerPieces& out);

  std::optional<ReasoningSplitter> splitter_;
  std::optional<ToolCallParser> calls_;
};

}  // namespace realm
