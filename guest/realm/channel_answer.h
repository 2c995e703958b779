// gpt-oss' answers: messages, each with a header that names a channel and may name a recipient.
//
//   <|channel|>analysis<|message|>reasoning<|end|><|start|>assistant<|channel|>final<|message|>text
//   <|start|>assistant<|channel|>commentary to=functions.name <|constrain|>json<|message|>{...}
// The recipient may stand before the channel. What is for another recipient than a function on offer is nobody's.
#pragma once

#include <string>

#include "realm/answer_reader.h"

namespace realm {

class ChannelAnswer : public AnswerReader {
 public:
  explicit ChannelAnswer(const ReaderOptions& options);

  void add(std::string_view text, AnswerPieces& out) override;
  void finish(AnswerPieces& out) override;
  bool in_reasoning() const override { return state_ == State::reasoning; }

 private:
  enum class State { header, reasoning, text, call, nobody };

  bool step(AnswerPieces& out, bool at_end);
  bool step_header(AnswerPieces& out, bool at_end);
  bool step_body(AnswerPieces& out, bool at_end);
  void open(std::string_view header, AnswerPieces& out);
  void give(std::string_view body, AnswerPieces& out);
  void close(AnswerPieces& out);

  const ReaderOptions options_;
  State state_;
  std::string held_;
  bool framed_ = false;    // the message is reasoning shown as text, with its marks
  std::string called_;     // the function that the message is for
  std::string arguments_;  // so far
};

}  // namespace realm
