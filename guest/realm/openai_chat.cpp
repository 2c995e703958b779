#include <set>

#include "realm/chat.h"
#include "realm/openai.h"
#include "realm/openai_fields.h"

namespace realm {
namespace {

// What every object of one answer begins with.
struct Envelope {
  std::string id = "chatcmpl-" + request_id();
  int64_t created = unix_seconds();
  std::string model;

  common_json object(const char* kind) const {
    common_json object = common_json::object();
    object["id"] = id;
    object["object"] = kind;
    object["created"] = created;
    object["model"] = model;
    object["system_fingerprint"] = "realm";
    return object;
  }
};

common_json shown(const ToolCall& call) {
  common_json function = common_json::object();
  function["name"] = call.name;
  function["arguments"] = call.arguments;
  common_json object = common_json::object();
  object["id"] = call.id.empty() ? random_id("call_") : call.id;
  object["type"] = "function";
  object["function"] = function;
  return object;
}

common_json logprobs_of(const common_json& content) {
  common_json object = common_json::object();
  object["content"] = content;
  object["refusal"] = nullptr;
  return object;
}

class WholeChat : public ChatSink {
 public:
  explicit WholeChat(const Chat& chat) : ChatSink(chat), logprobs_(chat.request.top_logprobs >= 0), answers_(chat.copies) {}

  common_json choices() const {
    common_json list = common_json::array();
    for (size_t i = 0; i < answers_.size(); ++i) {
      const Answer& answer = answers_[i];
      common_json message = common_json::object();
      message["role"] = "assistant";
      message["content"] = answer.text.empty() && !answer.calls.empty() ? common_json(nullptr) : common_json(answer.text);
      message["refusal"] = nullptr;
      if (!answer.reasoning.empty()) message["reasoning_content"] = answer.reasoning;
      if (!answer.calls.empty()) message["tool_calls"] = answer.calls;
      common_json choice = common_json::object();
      choice["index"] = i;
      choice["message"] = message;
      choice["logprobs"] = logprobs_ ? logprobs_of(answer.logprobs) : common_json(nullptr);
      choice["finish_reason"] = answer.reason;
      list.push_back(choice);
    }
    return list;
  }

 protected:
  void on_token(uint32_t choice, const TokenLogprob& token) override { answers_[choice].logprobs.push_back(logprob_entry(token)); }
  void on_pieces(uint32_t choice, const AnswerPieces& pieces) override {
    answers_[choice].reasoning += pieces.reasoning;
    answers_[choice].text += pieces.text;
    for (const ToolCall& call : pieces.calls) answers_[choice].calls.push_back(shown(call));
  }
  void on_finished(uint32_t choice, const Ending& ending, bool called) override { answers_[choice].reason = finish_reason(ending, called); }

 private:
  struct Answer {
    std::string reasoning;
    std::string text;
    common_json calls = common_json::array();
    common_json logprobs = common_json::array();
    const char* reason = "stop";
  };
  const bool logprobs_;
  std::vector<Answer> answers_;
};

class StreamedChat : public ChatSink {
 public:
  StreamedChat(const Chat& chat, const Envelope& envelope, bool include_usage)
      : ChatSink(chat), logprobs_(chat.request.top_logprobs >= 0), envelope_(envelope), include_usage_(include_usage), of_(chat.copies) {}

  void end(const Usage& usage) {
    if (include_usage_) {
      common_json chunk = envelope_.object("chat.completion.chunk");
      chunk["choices"] = common_json::array();
      chunk["usage"] = openai_usage(usage);
      chunk["timings"] = timings(usage);
      send_event("", chunk);
    }
    send_event("", std::string_view("[DONE]"));
  }

 protected:
  void on_token(uint32_t choice, const TokenLogprob& token) override { of_[choice].logprobs.push_back(logprob_entry(token)); }
  void on_pieces(uint32_t choice, const AnswerPieces& pieces) override {
    send_text(choice, "reasoning_content", pieces.reasoning);
    send_text(choice, "content", pieces.text);
    for (const ToolCall& call : pieces.calls) {
      common_json told = shown(call);
      told["index"] = of_[choice].calls++;
      common_json list = common_json::array();
      list.push_back(told);
      common_json delta = common_json::object();
      delta["tool_calls"] = list;
      send(choice, delta, nullptr);
    }
  }
  void on_finished(uint32_t choice, const Ending& ending, bool called) override {
    send(choice, common_json::object(), finish_reason(ending, called));
  }

 private:
  struct Of {
    bool begun = false;
    uint32_t calls = 0;
    common_json logprobs = common_json::array();
  };

  void send_text(uint32_t index, const char* field, const std::string& text) {
    if (text.empty()) return;
    common_json delta = common_json::object();
    delta[field] = text;
    send(index, delta, nullptr);
  }

  // A choice begins with its role; not before there is something to say, so that a refusal can still be one.
  void send(uint32_t index, const common_json& delta, const char* reason) {
    if (!of_[index].begun) {
      of_[index].begun = true;
      common_json first = common_json::object();
      first["role"] = "assistant";
      first["content"] = "";
      send(index, first, nullptr);
    }
    common_json choice = common_json::object();
    choice["index"] = index;
    choice["delta"] = delta;
    choice["logprobs"] = nullptr;
    if (logprobs_ && !delta.contains("role") && !of_[index].logprobs.empty()) {
      choice["logprobs"] = logprobs_of(of_[index].logprobs);
      of_[index].logprobs = common_json::array();
    }
    choice["finish_reason"] = reason == nullptr ? common_json(nullptr) : common_json(reason);
    common_json choices = common_json::array();
    choices.push_back(choice);
    common_json chunk = envelope_.object("chat.completion.chunk");
    chunk["choices"] = choices;
    if (include_usage_) chunk["usage"] = nullptr;
    send_event("", chunk);
  }

  const bool logprobs_;
  const Envelope& envelope_;
  const bool include_usage_;
  std::vector<Of> of_;
};

void read_logprobs(const common_json& body, Request& request) {
  bool wanted = false;
  refuse_if(read_bool(body, "logprobs", wanted));
  int32_t top = 0;
  refuse_if(read_integer(body, "top_logprobs", 0, top_logprobs_max, top));
  if (find(body, "top_logprobs") != nullptr && !wanted) refuse(400, "", "top_logprobs: only with \"logprobs\": true", "top_logprobs");
  if (wanted) request.top_logprobs = top;
}

// llama-server's reasoning_format: where reasoning goes.
void read_reasoning(const common_json& body, Chat& chat) {
  std::string format = "auto", effort;
  refuse_if(read_text(body, "reasoning_format", format));
  if (format != "auto" && format != "deepseek" && format != "none")
    refuse(400, "invalid_value", "reasoning_format: must be auto, deepseek or none", "reasoning_format");
  chat.reasoning_apart = format != "none";
  refuse_if(read_text(body, "reasoning_effort", effort));
  set_reasoning_effort(chat, effort);
}

void check_roles(const common_json& messages) {
  static const std::set<std::string> roles = {"system", "user", "assistant", "tool", "function"};
  size_t index = 0;
  for (const common_json& message : messages) {
    const std::string field = "messages[" + std::to_string(index++) + "].role";
    if (!roles.contains(message.at("role").get<std::string>()))
      refuse(400, "invalid_value", field + ": must be system, developer, user, assistant or tool", field);
  }
}

}  // namespace

Chat read_chat(const common_json& body) {
  Chat chat;
  set_openai_defaults(chat.request);
  refuse_unsupported(body);
  if (find(body, "messages") == nullptr) refuse(400, "missing_required_parameter", "messages: is missing", "messages");
  refuse_if(read_messages(body, chat.request));
  check_roles(chat.request.messages);
  bool goes_on = false;
  refuse_if(read_bool(body, "continue_final_message", goes_on));
  if (goes_on) prefill_from_last_message(chat.request);
  refuse_if(read_options(body, chat.request));
  refuse_if(read_bool(body, "parallel_tool_calls", chat.parallel_calls));
  if (chat.request.tools.is_array()) refuse_if(check_tools(chat.request.tools));
  refuse_if(read_tool_choice(body, chat.request.tools, chat.choice));
  read_logprobs(body, chat.request);
  read_reasoning(body, chat);
  chat.copies = read_copies(body);
  return chat;
}

void answer_chat_completion(const common_json& body) {
  Chat chat = read_chat(body);
  const StreamOptions stream = read_stream(body);
  const Model model(chat.request.model);
  const std::vector<std::vector<int32_t>> prompts = {chat_prompt(chat, model)};
  Envelope envelope;
  envelope.model = model.text(REALM_TEXT_NAME);
  if (stream.stream) {
    StreamedChat sink(chat, envelope, stream.include_usage);
    const Usage usage = generate_answers(model, chat.request, prompts, chat.copies, sink);
    sink.end(usage);
    return;
  }
  WholeChat sink(chat);
  const Usage usage = generate_answers(model, chat.request, prompts, chat.copies, sink);
  common_json answer = envelope.object("chat.completion");
  answer["choices"] = sink.choices();
  answer["usage"] = openai_usage(usage);
  answer["timings"] = timings(usage);
  reply(answer);
}

}  // namespace realm
