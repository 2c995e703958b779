#include "realm/anthropic.h"
#include "realm/anthropic_request.h"
#include "realm/openai_fields.h"
#include "realm/protocol.h"

namespace realm {
namespace {

const char* stop_reason(const Ending& ending, bool called) {
  if (called) return "tool_use";
  if (!ending.stopped) return "max_tokens";
  return ending.stop_found.empty() ? "end_turn" : "stop_sequence";
}

common_json stop_sequence(const Ending& ending) {
  return ending.stop_found.empty() ? common_json(nullptr) : common_json(ending.stop_found);
}

common_json usage_object(const Usage& usage) {
  common_json object = common_json::object();
  object["input_tokens"] = usage.prompt_tokens - usage.cached_tokens;
  object["cache_creation_input_tokens"] = 0;
  object["cache_read_input_tokens"] = usage.cached_tokens;
  object["output_tokens"] = usage.completion_tokens;
  return object;
}

common_json message_object(const Model& model) {
  common_json message = common_json::object();
  message["id"] = "msg_" + request_id();
  message["type"] = "message";
  message["role"] = "assistant";
  message["model"] = model.text(REALM_TEXT_NAME);
  message["content"] = common_json::array();
  message["stop_reason"] = nullptr;
  message["stop_sequence"] = nullptr;
  return message;
}

common_json text_block(const std::string& text) {
  common_json block = common_json::object();
  block["type"] = "text";
  block["text"] = text;
  return block;
}

common_json thinking_block(const std::string& thinking) {
  common_json block = common_json::object();
  block["type"] = "thinking";
  block["thinking"] = thinking;
  block["signature"] = "";
  return block;
}

common_json call_block(const ToolCall& call, const common_json& input) {
  common_json block = common_json::object();
  block["type"] = "tool_use";
  block["id"] = call.id.empty() ? random_id("toolu_") : call.id;
  block["name"] = call.name;
  block["input"] = input;
  return block;
}

class WholeMessage : public ChatSink {
 public:
  using ChatSink::ChatSink;

  void put(common_json& message) const {
    common_json content = common_json::array();
    if (!thinking_.empty()) content.push_back(thinking_block(thinking_));
    if (!text_.empty() || (calls_.empty() && thinking_.empty())) content.push_back(text_block(text_));
    for (const ToolCall& call : calls_) {
      const common_json input = common_json::parse_no_throw(call.arguments);
      content.push_back(call_block(call, input.is_discarded() ? common_json::object() : input));
    }
    message["content"] = content;
    message["stop_reason"] = reason_;
    message["stop_sequence"] = stop_;
  }

 protected:
  void on_pieces(uint32_t, const AnswerPieces& pieces) override {
    thinking_ += pieces.reasoning;
    text_ += pieces.text;
    calls_.insert(calls_.end(), pieces.calls.begin(), pieces.calls.end());
  }
  void on_finished(uint32_t, const Ending& ending, bool called) override {
    reason_ = stop_reason(ending, called);
    stop_ = stop_sequence(ending);
  }

 private:
  std::string thinking_;
  std::string text_;
  std::vector<ToolCall> calls_;
  const char* reason_ = "end_turn";
  common_json stop_;
};

class StreamedMessage : public ChatSink {
 public:
  StreamedMessage(const Chat& chat, const Model& model, uint32_t prompt_tokens)
      : ChatSink(chat), message_(message_object(model)), prompt_tokens_(prompt_tokens) {}

  void end(const Usage& usage) {
    begin();
    close_block();
    common_json delta = common_json::object();
    delta["stop_reason"] = reason_;
    delta["stop_sequence"] = stop_;
    common_json event = typed("message_delta");
    event["delta"] = delta;
    event["usage"] = usage_object(usage);
    send_event("message_delta", event);
    send_event("message_stop", typed("message_stop"));
  }

 protected:
  void on_pieces(uint32_t, const AnswerPieces& pieces) override {
    begin();
    if (!pieces.reasoning.empty()) send_part(Block::thinking, thinking_block(""), "thinking_delta", "thinking", pieces.reasoning);
    if (!pieces.text.empty()) send_part(Block::text, text_block(""), "text_delta", "text", pieces.text);
    for (const ToolCall& call : pieces.calls) {
      close_block();
      open_block(Block::call, call_block(call, common_json::object()));
      common_json delta = common_json::object();
      delta["type"] = "input_json_delta";
      delta["partial_json"] = call.arguments;
      send_delta(delta);
      close_block();
    }
  }
  void on_finished(uint32_t, const Ending& ending, bool called) override {
    reason_ = stop_reason(ending, called);
    stop_ = stop_sequence(ending);
  }

 private:
  enum class Block { none, thinking, text, call };

  static common_json typed(const char* type) {
    common_json event = common_json::object();
    event["type"] = type;
    return event;
  }

  // Not before there is something to say, so that a refusal can still be one.
  void begin() {
    if (begun_) return;
    begun_ = true;
    Usage so_far;
    so_far.prompt_tokens = prompt_tokens_;
    message_["usage"] = usage_object(so_far);
    common_json event = typed("message_start");
    event["message"] = message_;
    send_event("message_start", event);
    send_event("ping", typed("ping"));
  }

  // More of a block of this kind, which is opened when another one is open, or none.
  void send_part(Block kind, const common_json& empty, const char* type, const char* field, const std::string& text) {
    if (open_ != kind) {
      close_block();
      open_block(kind, empty);
    }
    common_json delta = common_json::object();
    delta["type"] = type;
    delta[field] = text;
    send_delta(delta);
  }

  void open_block(Block kind, const common_json& block) {
    common_json event = typed("content_block_start");
    event["index"] = blocks_;
    event["content_block"] = block;
    send_event("content_block_start", event);
    open_ = kind;
  }

  void send_delta(const common_json& delta) {
    common_json event = typed("content_block_delta");
    event["index"] = blocks_;
    event["delta"] = delta;
    send_event("content_block_delta", event);
  }

  void close_block() {
    if (open_ == Block::none) return;
    common_json event = typed("content_block_stop");
    event["index"] = blocks_++;
    send_event("content_block_stop", event);
    open_ = Block::none;
  }

  common_json message_;
  const uint32_t prompt_tokens_;
  bool begun_ = false;
  Block open_ = Block::none;
  uint32_t blocks_ = 0;
  const char* reason_ = "end_turn";
  common_json stop_;
};

}  // namespace

void answer_message(const common_json& body) {
  Chat chat = read_message_request(body, true);
  const StreamOptions stream = read_stream(body);
  const Model model(chat.request.model);
  const std::vector<std::vector<int32_t>> prompts = {chat_prompt(chat, model)};
  if (stream.stream) {
    StreamedMessage sink(chat, model, static_cast<uint32_t>(prompts.front().size()));
    sink.end(generate_answers(model, chat.request, prompts, 1, sink));
    return;
  }
  WholeMessage sink(chat);
  const Usage usage = generate_answers(model, chat.request, prompts, 1, sink);
  common_json message = message_object(model);
  sink.put(message);
  message["usage"] = usage_object(usage);
  message["timings"] = timings(usage);
  reply(message);
}

void answer_count_tokens(const common_json& body) {
  Chat chat = read_message_request(body, false);
  const Model model(chat.request.model);
  common_json answer = common_json::object();
  answer["input_tokens"] = chat_prompt(chat, model).size();
  reply(answer);
}

}  // namespace realm
