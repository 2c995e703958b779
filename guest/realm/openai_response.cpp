#include "realm/chat.h"
#include "realm/openai.h"
#include "realm/openai_fields.h"

namespace realm {
namespace {

bool has_text(const common_json& object, const std::string& field) { return object.contains(field) && object.at(field).is_string(); }

std::string word(const common_json& object, const std::string& field) {
  return has_text(object, field) ? object.at(field).get<std::string>() : "";
}

common_json text_message(const std::string& role, const std::string& text) {
  common_json message = common_json::object();
  message["role"] = role;
  message["content"] = text;
  return message;
}

std::string text_of(const common_json& content, const std::string& field) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) refuse_if(wrong_type(field, "a string or an array of parts", content));
  std::string text;
  for (const common_json& part : content) {
    const std::string type = part.is_object() ? word(part, "type") : "";
    const bool is_text = type == "input_text" || type == "output_text" || type == "text";
    if (!is_text || !has_text(part, "text")) refuse_if(problem(field + ": only text parts are supported"));
    text += (text.empty() ? "" : "\n") + part.at("text").get<std::string>();
  }
  return text;
}

// A call of an earlier answer joins the assistant's message before it.
void add_call(common_json& messages, const common_json& item, const std::string& field) {
  if (!has_text(item, "name") || !has_text(item, "arguments")) refuse_if(problem(field + ": a function_call needs name and arguments"));
  common_json function = common_json::object();
  function["name"] = item.at("name");
  function["arguments"] = item.at("arguments");
  common_json call = common_json::object();
  call["id"] = word(item, "call_id");
  call["type"] = "function";
  call["function"] = function;
  if (messages.empty() || word(messages.back(), "role") != "assistant") messages.push_back(text_message("assistant", ""));
  common_json calls = messages.back().contains("tool_calls") ? messages.back().at("tool_calls") : common_json::array();
  calls.push_back(call);
  messages.back()["tool_calls"] = calls;
}

void add_item(common_json& messages, const common_json& item, const std::string& field) {
  if (!item.is_object()) refuse_if(wrong_type(field, "an object", item));
  const std::string type = word(item, "type");
  if (type == "function_call") {
    add_call(messages, item, field);
  } else if (type == "function_call_output") {
    common_json message = text_message("tool", item.contains("output") ? text_of(item.at("output"), field + ".output") : "");
    message["tool_call_id"] = word(item, "call_id");
    messages.push_back(message);
  } else if (type.empty() || type == "message") {
    std::string role = word(item, "role");
    if (role == "developer") role = "system";
    if (role != "user" && role != "assistant" && role != "system")
      refuse_if(problem(field + ".role: must be \"user\", \"assistant\", \"system\" or \"developer\""));
    if (!item.contains("content")) refuse_if(problem(field + ".content: is missing"));
    messages.push_back(text_message(role, text_of(item.at("content"), field + ".content")));
  } else if (type != "reasoning") {
    refuse_if(problem(field + ".type: only message, function_call and function_call_output are supported"));
  }
}

common_json read_input_items(const common_json& body) {
  common_json messages = common_json::array();
  std::string instructions;
  refuse_if(read_text(body, "instructions", instructions));
  if (!instructions.empty()) messages.push_back(text_message("system", instructions));
  const common_json* input = find(body, "input");
  if (input == nullptr) refuse(400, "missing_required_parameter", "input: is missing", "input");
  if (input->is_string()) {
    messages.push_back(text_message("user", input->get<std::string>()));
    return messages;
  }
  if (!input->is_array()) refuse_if(wrong_type("input", "a string or an array of items", *input));
  if (input->empty() || input->size() > messages_max) refuse_if(problem("input: must be 1 to " + std::to_string(messages_max) + " items"));
  size_t index = 0;
  for (const common_json& item : *input) add_item(messages, item, "input[" + std::to_string(index++) + "]");
  return messages;
}

// Tools are flat here: {"type": "function", "name", "parameters"}.
common_json read_flat_tools(const common_json& body) {
  const common_json* list = find(body, "tools");
  if (list == nullptr) return nullptr;
  if (!list->is_array()) refuse_if(wrong_type("tools", "an array", *list));
  common_json tools = common_json::array();
  for (const common_json& tool : *list) {
    if (!tool.is_object() || word(tool, "type") != "function") refuse_if(problem("tools: only functions are supported"));
    common_json function = common_json::object();
    for (const char* field : {"name", "description", "parameters", "strict"}) {
      if (tool.contains(field)) function[field] = tool.at(field);
    }
    common_json told = common_json::object();
    told["type"] = "function";
    told["function"] = function;
    tools.push_back(told);
  }
  refuse_if(check_tools(tools));
  return tools;
}

// `text.format` is what chat completions call response_format, with the schema one level up.
void move_format(const common_json& body, common_json& fields) {
  const common_json* text = find(body, "text");
  if (text == nullptr) return;
  if (!text->is_object()) refuse_if(wrong_type("text", "an object", *text));
  const common_json* format = find(*text, "format");
  if (format == nullptr) return;
  if (!format->is_object()) refuse_if(wrong_type("text.format", "an object", *format));
  common_json moved = common_json::object();
  moved["type"] = word(*format, "type");
  if (word(*format, "type") == "json_schema") moved["json_schema"] = *format;
  fields["response_format"] = moved;
}

// Log-probabilities are the one thing that can be included here.
void read_included(const common_json& body, Request& request) {
  if (const common_json* include = find(body, "include")) {
    if (!include->is_array()) refuse_if(wrong_type("include", "an array of strings", *include));
    for (const common_json& one : *include) {
      if (one.is_string() && one.get<std::string>() == "message.output_text.logprobs") request.top_logprobs = 0;
    }
  }
  refuse_if(read_integer(body, "top_logprobs", 0, top_logprobs_max, request.top_logprobs));
}

Chat read_response_request(const common_json& body) {
  Chat chat;
  set_openai_defaults(chat.request);
  for (const char* field : {"previous_response_id", "conversation", "background", "prompt"}) {
    const common_json* value = find(body, field);
    if (value != nullptr && !(value->is_boolean() && !value->get<bool>())) {
      refuse(400, "unsupported_parameter", std::string(field) + ": answers are not stored here", field);
    }
  }
  refuse_unsupported(body);
  common_json fields = body;
  for (const char* field : {"input", "tools", "tool_choice", "prompt", "store", "text", "max_tokens"}) {
    if (fields.contains(field)) fields.erase(field);
  }
  if (find(body, "max_output_tokens") != nullptr) {
    refuse_if(read_integer(body, "max_output_tokens", 1, INT32_MAX, chat.request.max_tokens));
  }
  move_format(body, fields);
  refuse_if(read_options(fields, chat.request));
  chat.request.messages = read_input_items(body);
  chat.request.tools = read_flat_tools(body);
  refuse_if(read_tool_choice(body, chat.request.tools, chat.choice));
  refuse_if(read_bool(body, "parallel_tool_calls", chat.parallel_calls));
  read_included(body, chat.request);
  if (const common_json* reasoning = find(body, "reasoning")) {
    if (!reasoning->is_object()) refuse_if(wrong_type("reasoning", "an object", *reasoning));
    std::string effort;
    refuse_if(read_text(*reasoning, "effort", effort));
    set_reasoning_effort(chat, effort);
  }
  return chat;
}

common_json text_part(const std::string& text, const common_json& logprobs = common_json::array()) {
  common_json part = common_json::object();
  part["type"] = "output_text";
  part["text"] = text;
  part["annotations"] = common_json::array();
  part["logprobs"] = logprobs;
  return part;
}

common_json message_item(const std::string& id, const char* status, const common_json& content) {
  common_json item = common_json::object();
  item["id"] = id;
  item["type"] = "message";
  item["status"] = status;
  item["role"] = "assistant";
  item["content"] = content;
  return item;
}

common_json reasoning_item(const std::string& id, const char* status, const common_json& content) {
  common_json item = common_json::object();
  item["id"] = id;
  item["type"] = "reasoning";
  item["status"] = status;
  item["summary"] = common_json::array();
  item["content"] = content;
  return item;
}

common_json call_item(const std::string& id, const std::string& call_id, const ToolCall& call, const char* status, bool with_arguments) {
  common_json item = common_json::object();
  item["id"] = id;
  item["type"] = "function_call";
  item["status"] = status;
  item["call_id"] = call_id;
  item["name"] = call.name;
  item["arguments"] = with_arguments ? call.arguments : "";
  return item;
}

// Collects the output's items, and tells of each change when the answer is streamed.
class ResponseSink : public ChatSink {
 public:
  ResponseSink(const Chat& chat, const common_json& body, const Model& model, bool stream)
      : ChatSink(chat), stream_(stream), head_(head(chat, body, model)) {}

  common_json finish(const Usage& usage) {
    begin();
    close_reasoning();
    close_text();
    common_json answer = head_;
    answer["status"] = cut_ ? "incomplete" : "completed";
    if (cut_) {
      common_json details = common_json::object();
      details["reason"] = "max_output_tokens";
      answer["incomplete_details"] = details;
    }
    answer["output"] = output_;
    answer["usage"] = usage_object(usage);
    if (stream_) send_response(cut_ ? "response.incomplete" : "response.completed", answer);
    return answer;
  }

 protected:
  void on_token(uint32_t, const TokenLogprob& token) override { new_logprobs_.push_back(logprob_entry(token)); }
  void on_pieces(uint32_t, const AnswerPieces& pieces) override {
    begin();
    if (!pieces.reasoning.empty()) add_reasoning(pieces.reasoning);
    if (!pieces.text.empty()) {
      close_reasoning();
      add_text(pieces.text);
    }
    for (const ToolCall& call : pieces.calls) {
      close_reasoning();
      close_text();
      add_call_item(call);
    }
  }
  void on_finished(uint32_t, const Ending& ending, bool) override { cut_ = !ending.stopped; }

 private:
  static common_json head(const Chat& chat, const common_json& body, const Model& model) {
    common_json object = common_json::object();
    object["id"] = "resp_" + request_id();
    object["object"] = "response";
    object["created_at"] = unix_seconds();
    object["status"] = "in_progress";
    object["error"] = nullptr;
    object["incomplete_details"] = nullptr;
    object["instructions"] = body.contains("instructions") ? body.at("instructions") : common_json(nullptr);
    object["max_output_tokens"] = chat.request.max_tokens == 0 ? common_json(nullptr) : common_json(chat.request.max_tokens);
    object["model"] = model.text(REALM_TEXT_NAME);
    object["output"] = common_json::array();
    object["parallel_tool_calls"] = chat.parallel_calls;
    object["previous_response_id"] = nullptr;
    object["store"] = false;
    object["temperature"] = chat.request.temperature;
    object["tool_choice"] = body.contains("tool_choice") ? body.at("tool_choice") : common_json("auto");
    object["tools"] = body.contains("tools") ? body.at("tools") : common_json::array();
    object["top_p"] = chat.request.top_p;
    object["truncation"] = "disabled";
    object["usage"] = nullptr;
    object["metadata"] = body.value("metadata", common_json(common_json::object()));
    object["text"] = body.value("text", common_json::object({{"format", {{"type", "text"}}}}));
    object["background"] = false;
    object["user"] = body.value("user", common_json(nullptr));
    return object;
  }

  static common_json usage_object(const Usage& usage) {
    common_json input = common_json::object();
    input["cached_tokens"] = usage.cached_tokens;
    common_json output = common_json::object();
    output["reasoning_tokens"] = usage.reasoning_tokens;
    common_json object = common_json::object();
    object["input_tokens"] = usage.prompt_tokens;
    object["input_tokens_details"] = input;
    object["output_tokens"] = usage.completion_tokens;
    object["output_tokens_details"] = output;
    object["total_tokens"] = usage.prompt_tokens + usage.completion_tokens;
    return object;
  }

  void send(const char* type, common_json event) {
    event["type"] = type;
    event["sequence_number"] = sequence_number_++;
    send_event(type, event);
  }
  void send_response(const char* type, const common_json& response) {
    common_json event = common_json::object();
    event["response"] = response;
    send(type, event);
  }
  void send_item(const char* type, const common_json& item) {
    common_json event = common_json::object();
    event["output_index"] = output_.size();
    event["item"] = item;
    send(type, event);
  }
  // An event about the part of the item that is being written.
  common_json of_part(const std::string& id) const {
    common_json event = common_json::object();
    event["item_id"] = id;
    event["output_index"] = output_.size();
    event["content_index"] = 0;
    return event;
  }

  void begin() {
    if (!stream_ || sequence_number_ > 0) return;
    send_response("response.created", head_);
    send_response("response.in_progress", head_);
  }

  void add_reasoning(const std::string& text) {
    close_text();
    if (reasoning_id_.empty()) {
      reasoning_id_ = random_id("rs_");
      if (stream_) send_item("response.output_item.added", reasoning_item(reasoning_id_, "in_progress", common_json::array()));
    }
    reasoning_ += text;
    common_json event = of_part(reasoning_id_);
    event["delta"] = text;
    if (stream_) send("response.reasoning_text.delta", event);
  }

  void close_reasoning() {
    if (reasoning_id_.empty()) return;
    common_json part = common_json::object();
    part["type"] = "reasoning_text";
    part["text"] = reasoning_;
    common_json content = common_json::array();
    content.push_back(part);
    const common_json item = reasoning_item(reasoning_id_, "completed", content);
    if (stream_) {
      common_json done = of_part(reasoning_id_);
      done["text"] = reasoning_;
      send("response.reasoning_text.done", done);
      send_item("response.output_item.done", item);
    }
    output_.push_back(item);
    reasoning_id_.clear();
    reasoning_.clear();
  }

  void add_text(const std::string& text) {
    if (text_id_.empty()) {
      text_id_ = random_id("msg_");
      if (stream_) {
        send_item("response.output_item.added", message_item(text_id_, "in_progress", common_json::array()));
        common_json event = of_part(text_id_);
        event["part"] = text_part("");
        send("response.content_part.added", event);
      }
    }
    text_ += text;
    for (const common_json& one : new_logprobs_) logprobs_.push_back(one);
    common_json event = of_part(text_id_);
    event["delta"] = text;
    event["logprobs"] = new_logprobs_;
    new_logprobs_ = common_json::array();
    if (stream_) send("response.output_text.delta", event);
  }

  void close_text() {
    if (text_id_.empty()) return;
    common_json content = common_json::array();
    content.push_back(text_part(text_, logprobs_));
    const common_json item = message_item(text_id_, "completed", content);
    if (stream_) {
      common_json done = of_part(text_id_);
      done["text"] = text_;
      done["logprobs"] = logprobs_;
      send("response.output_text.done", done);
      common_json part = of_part(text_id_);
      part["part"] = text_part(text_, logprobs_);
      send("response.content_part.done", part);
      send_item("response.output_item.done", item);
    }
    output_.push_back(item);
    text_id_.clear();
    text_.clear();
    logprobs_ = common_json::array();
  }

  void add_call_item(const ToolCall& call) {
    const std::string id = random_id("fc_");
    const std::string call_id = call.id.empty() ? random_id("call_") : call.id;
    const common_json item = call_item(id, call_id, call, "completed", true);
    if (stream_) {
      send_item("response.output_item.added", call_item(id, call_id, call, "in_progress", false));
      common_json event = common_json::object();
      event["item_id"] = id;
      event["output_index"] = output_.size();
      event["delta"] = call.arguments;
      send("response.function_call_arguments.delta", event);
      common_json done = common_json::object();
      done["item_id"] = id;
      done["output_index"] = output_.size();
      done["name"] = call.name;
      done["arguments"] = call.arguments;
      send("response.function_call_arguments.done", done);
      send_item("response.output_item.done", item);
    }
    output_.push_back(item);
  }

  const bool stream_;
  const common_json head_;
  common_json output_ = common_json::array();
  std::string reasoning_id_;  // of the reasoning that is being written; empty: none
  std::string reasoning_;
  std::string text_id_;  // of the message that is being written; empty: none
  std::string text_;
  common_json logprobs_ = common_json::array();      // of that message
  common_json new_logprobs_ = common_json::array();  // of tokens whose text is not out yet
  bool cut_ = false;
  uint32_t sequence_number_ = 0;
};

}  // namespace

void answer_response(const common_json& body) {
  Chat chat = read_response_request(body);
  const StreamOptions stream = read_stream(body);
  const Model model(chat.request.model);
  const std::vector<std::vector<int32_t>> prompts = {chat_prompt(chat, model)};
  ResponseSink sink(chat, body, model, stream.stream);
  const Usage usage = generate_answers(model, chat.request, prompts, 1, sink);
  common_json answer = sink.finish(usage);
  if (stream.stream) return;
  answer["timings"] = timings(usage);
  reply(answer);
}

}  // namespace realm
