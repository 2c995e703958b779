#include "realm/tools.h"

namespace realm {
namespace {

const common_json* function_of(const common_json& tool) {
  if (!tool.is_object() || !tool.contains("function") || !tool.at("function").is_object()) return nullptr;
  return &tool.at("function");
}

bool has_text(const common_json& object, const std::string& field) { return object.contains(field) && object.at(field).is_string(); }

common_json text_message(const char* role, const std::string& content) {
  common_json message = common_json::object();
  message["role"] = role;
  message["content"] = content;
  return message;
}

std::string content_of(const common_json& message) { return has_text(message, "content") ? message.at("content").get<std::string>() : ""; }

std::string call_text(const common_json& call) {
  const common_json* function = function_of(call);
  if (function == nullptr) return {};
  common_json told = common_json::object();
  told["name"] = has_text(*function, "name") ? function->at("name").get<std::string>() : "";
  told["arguments"] = function->contains("arguments") ? function->at("arguments") : common_json::object();
  return "<tool_call>\n" + told.dump_safe() + "\n</tool_call>";
}

std::string instruction(const common_json& tools) {
  std::string text =
      "You may call one or more functions to assist with the user query. The functions are described by JSON Schema:\n<tools>\n";
  for (const common_json& tool : tools) text += tool.dump_safe() + "\n";
  return text +
         "</tools>\nFor each call write a JSON object with the function's name and its arguments inside tags:\n<tool_call>\n{\"name\": "
         "<function-name>, \"arguments\": <arguments-object>}\n</tool_call>";
}

}  // namespace

Problem check_tools(const common_json& tools) {
  if (tools.size() > tools_max) return problem("tools: at most " + std::to_string(tools_max));
  size_t index = 0;
  for (const common_json& tool : tools) {
    const std::string field = "tools[" + std::to_string(index++) + "]";
    if (!tool.is_object()) return wrong_type(field, "an object", tool);
    if (!has_text(tool, "type") || tool.at("type").get<std::string>() != "function")
      return problem(field + ".type: only \"function\" is supported");
    const common_json* function = function_of(tool);
    if (function == nullptr) return problem(field + ".function: must be an object");
    if (!has_text(*function, "name") || function->at("name").get<std::string>().empty())
      return problem(field + ".function.name: must be a string");
    if (const common_json* parameters = find(*function, "parameters"); parameters != nullptr && !parameters->is_object()) {
      return wrong_type(field + ".function.parameters", "an object", *parameters);
    }
  }
  return {};
}

std::set<std::string> tool_names(const common_json& tools) {
  std::set<std::string> names;
  for (const common_json& tool : tools) names.insert(function_of(tool)->at("name").get<std::string>());
  return names;
}

Problem read_tool_choice(const common_json& object, const common_json& tools, ToolChoice& choice) {
  const common_json* value = find(object, "tool_choice");
  if (value == nullptr) return {};
  const bool has_tools = tools.is_array() && !tools.empty();
  if (value->is_string()) {
    const std::string word = value->get<std::string>();
    if (word == "none") {
      choice.kind = ToolChoice::none;
    } else if (word == "required") {
      choice.kind = ToolChoice::required;
    } else if (word != "auto") {
      return problem("tool_choice: must be \"none\", \"auto\", \"required\" or an object that names a function");
    }
  } else if (value->is_object()) {
    const common_json* function = function_of(*value);
    const common_json& named = function != nullptr ? *function : *value;
    if (!has_text(named, "name")) return problem("tool_choice.function.name: must be a string");
    choice = {ToolChoice::named, named.at("name").get<std::string>()};
    if (has_tools && !tool_names(tools).contains(choice.name)) return problem("tool_choice: there is no tool of this name");
  } else {
    return wrong_type("tool_choice", "a string or an object", *value);
  }
  if (!has_tools && choice.kind >= ToolChoice::required) return problem("tool_choice: there are no tools to choose from");
  return {};
}

void parse_call_arguments(common_json& messages) {
  for (common_json& message : messages) {
    if (!message.contains("tool_calls") || !message.at("tool_calls").is_array()) continue;
    for (common_json& call : message["tool_calls"]) {
      if (!call.is_object() || !call.contains("function") || !call.at("function").is_object()) continue;
      common_json& function = call["function"];
      if (!has_text(function, "arguments")) continue;
      const common_json parsed = common_json::parse_no_throw(function.at("arguments").get<std::string>());
      if (!parsed.is_discarded() && parsed.is_object()) function["arguments"] = parsed;
    }
  }
}

void tell_tools_in_text(Request& request) {
  common_json told = common_json::array();
  std::string system = request.tools.is_array() && !request.tools.empty() ? instruction(request.tools) : "";
  if (!request.messages.empty() && has_text(request.messages.at(0), "role") &&
      request.messages.at(0).at("role").get<std::string>() == "system") {
    const std::string own = content_of(request.messages.at(0));
    system = system.empty() ? own : own + "\n\n" + system;
  }
  if (!system.empty()) told.push_back(text_message("system", system));
  size_t index = 0;
  for (const common_json& message : request.messages) {
    const std::string role = message.at("role").get<std::string>();
    if (index++ == 0 && role == "system") continue;
    if (role == "tool" || role == "function") {
      const std::string result = "<tool_response>\n" + content_of(message) + "\n</tool_response>";
      // Results of one turn are one message: templates want roles to alternate.
      if (!told.empty() && told.back().at("role").get<std::string>() == "user" && content_of(told.back()).starts_with("<tool_response>")) {
        told.back()["content"] = content_of(told.back()) + "\n" + result;
      } else {
        told.push_back(text_message("user", result));
      }
    } else if (message.contains("tool_calls") && message.at("tool_calls").is_array()) {
      std::string text = content_of(message);
      for (const common_json& call : message.at("tool_calls")) text += (text.empty() ? "" : "\n") + call_text(call);
      told.push_back(text_message(role.c_str(), text));
    } else {
      told.push_back(message);
    }
  }
  request.messages = told;
  request.tools = nullptr;
}

common_json call_schema(const common_json& tools, const ToolChoice& choice) {
  common_json options = common_json::array();
  for (const common_json& tool : tools) {
    const common_json& function = *function_of(tool);
    const std::string name = function.at("name").get<std::string>();
    if (choice.kind == ToolChoice::named && name != choice.name) continue;
    common_json fixed = common_json::object();
    fixed["const"] = name;
    common_json properties = common_json::object();
    properties["name"] = fixed;
    if (const common_json* parameters = find(function, "parameters")) {
      properties["arguments"] = *parameters;
    } else {
      common_json any = common_json::object();
      any["type"] = "object";
      properties["arguments"] = any;
    }
    common_json required = common_json::array();
    required.push_back("name");
    required.push_back("arguments");
    common_json option = common_json::object();
    option["type"] = "object";
    option["properties"] = properties;
    option["required"] = required;
    option["additionalProperties"] = false;
    options.push_back(option);
  }
  if (options.size() == 1) return options.at(0);
  common_json schema = common_json::object();
  schema["anyOf"] = options;
  return schema;
}

}  // namespace realm
