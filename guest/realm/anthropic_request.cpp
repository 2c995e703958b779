#include "realm/anthropic_request.h"

#include "realm/openai_fields.h"
#include "realm/protocol.h"

namespace realm {
namespace {

bool has_text(const common_json& object, const std::string& field) { return object.contains(field) && object.at(field).is_string(); }

// A string, or text blocks, as one text.
std::string text_of(const common_json& content, const std::string& field) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) refuse_if(wrong_type(field, "a string or an array of blocks", content));
  std::string text;
  for (const common_json& block : content) {
    if (!block.is_object() || !has_text(block, "type") || block.at("type").get<std::string>() != "text" || !has_text(block, "text")) {
      refuse_if(problem(field + ": only text blocks are supported here"));
    }
    text += (text.empty() ? "" : "\n") + block.at("text").get<std::string>();
  }
  return text;
}

common_json text_message(const std::string& role, const std::string& text) {
  common_json message = common_json::object();
  message["role"] = role;
  message["content"] = text;
  return message;
}

common_json tool_call(const common_json& block, const std::string& field) {
  if (!has_text(block, "id") || !has_text(block, "name")) refuse_if(problem(field + ": a tool_use block needs id and name"));
  common_json function = common_json::object();
  function["name"] = block.at("name");
  function["arguments"] = block.contains("input") ? block.at("input") : common_json::object();
  common_json call = common_json::object();
  call["id"] = block.at("id");
  call["type"] = "function";
  call["function"] = function;
  return call;
}

common_json tool_result(const common_json& block, const std::string& field) {
  if (!has_text(block, "tool_use_id")) refuse_if(problem(field + ": a tool_result block needs tool_use_id"));
  common_json message = text_message("tool", find(block, "content") == nullptr ? "" : text_of(block.at("content"), field + ".content"));
  message["tool_call_id"] = block.at("tool_use_id");
  return message;
}

// Turns of one role after each other are one turn in this protocol.
void add_text(common_json& messages, const std::string& role, const std::string& text) {
  const bool joins = !messages.empty() && messages.back().at("role").get<std::string>() == role && !messages.back().contains("tool_calls");
  if (joins) {
    messages.back()["content"] = messages.back().at("content").get<std::string>() + "\n" + text;
  } else {
    messages.push_back(text_message(role, text));
  }
}

// One message of blocks may be several of OpenAI's: results of tools are messages of their own there.
void add_blocks(common_json& messages, const std::string& role, const common_json& blocks, const std::string& field) {
  std::string text, reasoning;
  common_json calls = common_json::array();
  size_t index = 0;
  for (const common_json& block : blocks) {
    const std::string here = field + ".content[" + std::to_string(index++) + "]";
    const std::string type = block.is_object() && has_text(block, "type") ? block.at("type").get<std::string>() : "";
    if (type == "thinking" && role == "assistant" && has_text(block, "thinking")) {
      reasoning += block.at("thinking").get<std::string>();
    } else if (type == "text" && has_text(block, "text")) {
      text += (text.empty() ? "" : "\n") + block.at("text").get<std::string>();
    } else if (type == "tool_use" && role == "assistant") {
      calls.push_back(tool_call(block, here));
    } else if (type == "tool_result" && role == "user") {
      messages.push_back(tool_result(block, here));
    } else if (type != "thinking" && type != "redacted_thinking") {
      refuse_if(problem(here + ".type: only text, tool_use and tool_result blocks are supported"));
    }
  }
  if (calls.empty()) {
    if (!text.empty()) add_text(messages, role, text);
    return;
  }
  common_json message = text_message(role, text);
  if (!reasoning.empty()) message["reasoning_content"] = reasoning;  // templates keep that of calls alone
  message["tool_calls"] = calls;
  messages.push_back(message);
}

common_json read_conversation(const common_json& body) {
  common_json messages = common_json::array();
  if (const common_json* system = find(body, "system")) messages.push_back(text_message("system", text_of(*system, "system")));
  const common_json* list = find(body, "messages");
  if (list == nullptr) refuse(400, "", "messages: is missing", "messages");
  if (!list->is_array()) refuse_if(wrong_type("messages", "an array", *list));
  if (list->empty() || list->size() > messages_max) refuse_if(problem("messages: must be 1 to " + std::to_string(messages_max)));
  size_t index = 0;
  for (const common_json& message : *list) {
    const std::string field = "messages[" + std::to_string(index++) + "]";
    if (!message.is_object()) refuse_if(wrong_type(field, "an object", message));
    const std::string role = has_text(message, "role") ? message.at("role").get<std::string>() : "";
    if (role != "user" && role != "assistant") refuse_if(problem(field + ".role: must be \"user\" or \"assistant\""));
    if (!message.contains("content")) refuse_if(problem(field + ".content: is missing"));
    const common_json& content = message.at("content");
    if (content.is_string()) {
      add_text(messages, role, content.get<std::string>());
    } else if (content.is_array()) {
      add_blocks(messages, role, content, field);
    } else {
      refuse_if(wrong_type(field + ".content", "a string or an array of blocks", content));
    }
  }
  return messages;
}

common_json read_tools(const common_json& body) {
  const common_json* list = find(body, "tools");
  if (list == nullptr) return nullptr;
  if (!list->is_array()) refuse_if(wrong_type("tools", "an array", *list));
  common_json tools = common_json::array();
  for (const common_json& tool : *list) {
    if (!tool.is_object()) refuse_if(wrong_type("tools", "an array of objects", tool));
    if (has_text(tool, "type") && tool.at("type").get<std::string>() != "custom")
      refuse_if(problem("tools: only custom tools are supported"));
    common_json function = common_json::object();
    for (const char* field : {"name", "description"}) {
      if (tool.contains(field)) function[field] = tool.at(field);
    }
    if (find(tool, "input_schema") != nullptr) function["parameters"] = tool.at("input_schema");
    common_json told = common_json::object();
    told["type"] = "function";
    told["function"] = function;
    tools.push_back(told);
  }
  refuse_if(check_tools(tools));
  return tools;
}

void read_choice(const common_json& body, Chat& chat) {
  const common_json& tools = chat.request.tools;
  ToolChoice& choice = chat.choice;
  const common_json* value = find(body, "tool_choice");
  if (value == nullptr) return;
  if (!value->is_object() || !has_text(*value, "type")) refuse_if(problem("tool_choice: must be an object with a type"));
  bool single = false;
  refuse_if(read_bool(*value, "disable_parallel_tool_use", single));
  chat.parallel_calls = !single;
  const std::string type = value->at("type").get<std::string>();
  if (type == "none") {
    choice.kind = ToolChoice::none;
  } else if (type == "any") {
    choice.kind = ToolChoice::required;
  } else if (type == "tool") {
    if (!has_text(*value, "name")) refuse_if(problem("tool_choice.name: must be a string"));
    choice.kind = ToolChoice::named;
    choice.name = value->at("name").get<std::string>();
    if (!tools.is_array() || !tool_names(tools).contains(choice.name)) refuse_if(problem("tool_choice: there is no tool of this name"));
  } else if (type != "auto") {
    refuse_if(problem("tool_choice.type: must be \"auto\", \"any\", \"tool\" or \"none\""));
  }
  if (choice.kind == ToolChoice::required && !tools.is_array()) refuse_if(problem("tool_choice: there are no tools to choose from"));
}

// The model's template decides whether it thinks, unless it is told not to.
void read_thinking(const common_json& body, Chat& chat) {
  const common_json* thinking = find(body, "thinking");
  if (thinking == nullptr) return;
  if (!thinking->is_object() || !has_text(*thinking, "type")) refuse_if(problem("thinking: must be an object with a type"));
  if (thinking->at("type").get<std::string>() == "disabled") set_reasoning_effort(chat, "none");
}

// `output_config.format` (earlier `output_format`) is what chat completions call response_format, with the schema one level up.
void move_format(const common_json& body, common_json& fields) {
  std::string field = "output_format";
  const common_json* format = find(body, field);
  if (const common_json* config = find(body, "output_config")) {
    if (!config->is_object()) refuse_if(wrong_type("output_config", "an object", *config));
    if (const common_json* newer = find(*config, "format")) {
      field = "output_config.format";
      format = newer;
    }
  }
  if (format == nullptr) return;
  if (!format->is_object() || !has_text(*format, "type") || format->at("type").get<std::string>() != "json_schema" ||
      find(*format, "schema") == nullptr)
    refuse_if(problem(field + ": must be {\"type\": \"json_schema\", \"schema\"}"));
  fields["json_schema"] = format->at("schema");
}

}  // namespace

Chat read_message_request(const common_json& body, bool needs_max_tokens) {
  Chat chat;
  Request& request = chat.request;
  set_openai_defaults(request);
  if (needs_max_tokens && find(body, "max_tokens") == nullptr) refuse(400, "", "max_tokens: is missing", "max_tokens");
  // The rest of the fields is read as OpenAI's; those of this protocol alone are put in their place.
  common_json fields = body;
  for (const char* field : {"messages", "system", "tools", "tool_choice", "stop"}) {
    if (fields.contains(field)) fields.erase(field);
  }
  if (const common_json* stops = find(body, "stop_sequences")) {
    if (!stops->is_array()) refuse_if(wrong_type("stop_sequences", "an array of strings", *stops));
    fields["stop"] = *stops;
  }
  move_format(body, fields);
  refuse_if(read_options(fields, request));
  request.messages = read_conversation(body);
  prefill_from_last_message(request);
  request.tools = read_tools(body);
  read_choice(body, chat);
  read_thinking(body, chat);
  return chat;
}

}  // namespace realm
