// Functionary 3.2's answers: messages, each for a recipient, which is "all" or a function.
//
//   all\ntext>>>name\n{...}>>>name\n{...}
#pragma once

#include <string>

#include "realm/answer_reader.h"

namespace realm {

class RecipientAnswer : public AnswerReader {
 public:
  explicit RecipientAnswer(const ReaderOptions& options)
      : options_(options), at_recipient_(options.start != AnswerStart::in_text), body_(at_recipient_ ? Body::none : Body::text) {}

  void add(std::string_view text, AnswerPieces& out) override;
  void finish(AnswerPieces& out) override;

 private:
  enum class Body { none, text, call };

  bool step(AnswerPieces& out, bool at_end);
  bool step_recipient(AnswerPieces& out, bool at_end);
  bool step_body(AnswerPieces& out, bool at_end);
  void give(std::string_view text, AnswerPieces& out);
  void close(AnswerPieces& out);
  bool is_recipient(const std::string& name) const;

  const ReaderOptions options_;
  bool at_recipient_;  // a mark was found, or the prompt ends in one: what follows may be a recipient
  Body body_;          // what goes on when it is none
  std::string held_;
  std::string called_;     // the function that the message is for
  std::string arguments_;  // so far
};

}  // namespace realm
