// Tool calls in what a model writes. Families have forms of their own; text and calls are told apart while the text streams in.
// An answer that is a call and nothing else, bare or in a code block, is understood too (Llama 3.2, Gemma 3).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "realm/answer_pieces.h"
#include "realm/call_forms.h"
#include "realm/callable_tools.h"

namespace realm {

// What begins a call, and what ends it; without an end the rest of the answer belongs to it.
struct CallMarker {
  std::string_view open;
  std::string_view close;
  CallForm form;
  bool keeps_open = false;  // the marker is part of what it says
};

// Those that are looked for whatever the model is, and those of the family whose chat template this is.
std::vector<CallMarker> call_markers(std::string_view chat_template);

class ToolCallParser {
 public:
  // Whatever looks like a call of something else is text.
  ToolCallParser(CallableTools tools, std::vector<CallMarker> markers) : tools_(std::move(tools)), markers_(std::move(markers)) {}

  // Adds text; what is certain goes to `out`.
  void add(std::string_view text, AnswerPieces& out);
  void finish(AnswerPieces& out);

 private:
  // What may come next in the held text.
  struct Found {
    const CallMarker* marker = nullptr;  // none: no call begins in it
    size_t at = 0;
  };
  enum class Whole { no, wait, taken };

  bool step(AnswerPieces& out, bool at_end);
  Whole whole_answer(AnswerPieces& out, bool at_end);
  Found next_marker() const;
  size_t possible_marker() const;
  void give(size_t length, AnswerPieces& out);
  void give_text_before(size_t end, AnswerPieces& out);

  const CallableTools tools_;
  const std::vector<CallMarker> markers_;
  std::string held_;
  bool begun_ = false;  // text other than spaces was given out, or a call was found
};

}  // namespace realm
