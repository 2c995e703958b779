// What the chat protocols share: tools offered to the model, calls found in its answers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "realm/answer_reader.h"
#include "realm/generation.h"
#include "realm/tools.h"

namespace realm {

struct Chat {
  Request request;
  ToolChoice choice;
  bool parallel_calls = true;  // else an answer ends with its first call
  uint32_t copies = 1;
  bool reasoning_apart = true;  // else it stays in the text
  common_json offered;          // the tools, as OpenAI has them; null: none, or none to be used
  AnswerForm form;              // of the model's family
  AnswerStart start = AnswerStart::anew;

  bool constrained() const { return request.shape.kind != AnswerShape::Kind::free; }
};

// How much the model is to reason: OpenAI's word for it. "none" is to answer at once.
void set_reasoning_effort(Chat& chat, const std::string& effort);

// The last message, when it is the assistant's, begins the answer: it is taken off the messages and the model goes on from there.
void prefill_from_last_message(Request& request);

// Makes the request's tools known to the model: through its template when that knows tools, else in the system message. An answer
// that must be a call is held to the tools' schemas, one that may be a call to them and to the schema that it has otherwise.
// Then the prompt. An answer that the request begins, or whose form is fixed, comes without reasoning: the prompt goes as far as its text.
std::vector<int32_t> chat_prompt(Chat& chat, const Model& model);

// An answer, told apart into reasoning, text and calls.
class ChatSink : public AnswerSink {
 public:
  explicit ChatSink(const Chat& chat);

  void on_text(uint32_t choice, const std::string& text) override;
  void on_end(uint32_t choice, const Ending& ending) override;
  bool is_reasoning(uint32_t choice) const override { return choices_[choice].reader && choices_[choice].reader->in_reasoning(); }
  bool is_satisfied(uint32_t choice) const override { return single_call_ && choices_[choice].called; }

 protected:
  virtual void on_pieces(uint32_t choice, const AnswerPieces& pieces) = 0;
  // `called`: the answer ended in a call.
  virtual void on_finished(uint32_t choice, const Ending& ending, bool called) = 0;

 private:
  struct Of {
    std::unique_ptr<AnswerReader> reader;
    bool called = false;
  };
  void give(uint32_t choice, AnswerPieces& pieces);
  const bool single_call_;
  std::vector<Of> choices_;
};

}  // namespace realm
