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
  uint32_t copies = 1;
  common_json offered;  // the tools, as OpenAI has them; null: none, or none to be used
};

// Makes the request's tools known to the model: through its template when that knows tools, else in the system message. An answer
// that must be a call is held to the tools' schemas.
void offer_tools(Chat& chat, const Model& model);

// An answer, apart from its text: the calls in it.
class ChatSink : public AnswerSink {
 public:
  explicit ChatSink(const Chat& chat);

  void on_text(uint32_t choice, const std::string& text) override;
  void on_end(uint32_t choice, const Ending& ending) override;

 protected:
  virtual void on_pieces(uint32_t choice, const ToolPieces& pieces) = 0;
  // `called`: the answer ended in a call.
  virtual void on_finished(uint32_t choice, const Ending& ending, bool called) = 0;

 private:
  struct Of {
    std::optional<ToolCallParser> parser;
    bool called = false;
  };
  void give(uint32_t choice, const ToolPieces& pieces);
  std::vector<Of> choices_;
};

}  // namespace realm
