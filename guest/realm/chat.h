// What the chat protocols share: tools offered to the model, calls found in its answers.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "realm/generation.h"
#include "realm/tool_calls.h"
#include "realm/tools.h"

namespace realm {

struct Chat {
  Request request;
  ToolChoice choice;
  bool parallel_calls = true;  // else an answer ends with its first call
  uint32_t copies = 1;
  common_json offered;  // the tools, as OpenAI has them; null: none, or none to be used
};

// The last message, when it is the assistant's, begins the answer: it is taken off the messages and the model goes on from there.
void prefill_from_last_message(Request& request);

// Makes the request's tools known to the model: through its template when that knows tools, else in the system message. An answer
// that must be a call is held to the tools' schemas, one that may be a call to them and to the schema that it has otherwise.
void offer_tools(Chat& chat, const Model& model);

// An answer, apart from its text: the calls in it.
class ChatSink : public AnswerSink {
 public:
  explicit ChatSink(const Chat& chat);

  void on_text(uint32_t choice, const std::string& text) override;
  void on_end(uint32_t choice, const Ending& ending) override;
  bool is_satisfied(uint32_t choice) const override { return single_call_ && choices_[choice].called; }

 protected:
  virtual void on_pieces(uint32_t choice, const ToolPieces& pieces) = 0;
  // `called`: the answer ended in a call.
  virtual void on_finished(uint32_t choice, const Ending& ending, bool called) = 0;

 private:
  struct Of {
    std::optional<ToolCallParser> parser;
    bool called = false;
  };
  void give(uint32_t choice, ToolPieces& pieces);
  const bool single_call_;
  std::vector<Of> choices_;
};

}  // namespace realm
