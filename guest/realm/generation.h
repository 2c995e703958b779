// One request from prompt to last token.
#pragma once

#include <string>

#include "realm/request.h"

namespace realm {

// Answers the request. Pieces of the answer go to `on_text` as they come, whole UTF-8 characters. Returns the summary as JSON. Ends
// the instance when the request cannot be served.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  virtual void on_text(const std::string& text) = 0;
};

std::string generate_answer(const Request& request, AnswerSink& sink);

}  // namespace realm
