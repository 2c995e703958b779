// An answer's text as it streams in, told apart into reasoning, text and calls.
#pragma once

#include <memory>
#include <string_view>

#include "realm/answer_form.h"
#include "realm/answer_pieces.h"
#include "realm/callable_tools.h"

namespace realm {

class AnswerReader {
 public:
  virtual ~AnswerReader() = default;
  // Adds text; what is certain goes to `out`.
  virtual void add(std::string_view text, AnswerPieces& out) = 0;
  virtual void finish(AnswerPieces& out) = 0;
  // What comes next is reasoning, as far as one can tell.
  virtual bool in_reasoning() const { return false; }
};

struct ReaderOptions {
  AnswerStart start = AnswerStart::anew;
  bool reasoning_apart = true;  // else it stays in the text, with its marks
  bool constrained = false;     // the answer is held to a grammar: it is text, or a call without marks
  bool finds_calls = false;     // of `tools`; else what looks like one is text
  CallableTools tools = {};
};

// Null: the answer's text is all there is.
std::unique_ptr<AnswerReader> make_answer_reader(const AnswerForm& form, const ReaderOptions& options);

}  // namespace realm
