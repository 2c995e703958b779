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

CallableTools callable_tools(const common_json& tools, const ToolChoice& choice) {
  CallableTools callable;
  for (const common_json& tool : tools) {
    const common_json& function = *function_of(tool);
    const std::string name = function.at("name").get<std::string>();
    const common_json* parameters = find(function, "parameters");
    if (choice.allows(name)) callable.add(name, parameters == nullptr ? common_json(nullptr) : *parameters);
  }
  return callable;
}

namespace {

Problem read_mode(const std::string& field, const common_json& word, ToolChoice& choice) {
  const std::string mode = word.is_string() ? word.get<std::string>() : "";
  if (mode == "required") {
    choice.kind = ToolChoice::required;
  } else if (mode != "auto") {
    return problem(field + ": must be \"auto\" or \"required\"");
  }
  return {};
}

// {"type": "allowed_tools", "allowed_tools": {"mode", "tools"}}; in responses without the inner object.
Problem read_allowed_tools(const common_json& value, const std::set<std::string>& offered, ToolChoice& choice) {
  const common_json* inner = find(value, "allowed_tools");
  const common_json& list = inner != nullptr && inner->is_object() ? *inner : value;
  if (auto bad = read_mode("tool_choice.allowed_tools.mode", list.value("mode", common_json("auto")), choice)) return bad;
  const common_json* tools = find(list, "tools");
  if (tools == nullptr || !tools->is_array() || tools->empty())
    return problem("tool_choice.allowed_tools.tools: must be an array of tools");
  for (const common_json& tool : *tools) {
    const common_json* function = function_of(tool);
    const common_json& named = function != nullptr ? *function : tool;
    if (!named.is_object() || !has_text(named, "name") || !offered.contains(named.at("name").get<std::string>()))
      return problem("tool_choice.allowed_tools.tools: must name tools that are offered");
    choice.allowed.insert(named.at("name").get<std::string>());
  }
  return {};
}

}  // namespace

Problem read_tool_choice(const common_json& object, const common_json& tools, ToolChoice& choice) {
  const common_json* value = find(object, "tool_choice");
  if (value == nullptr) return {};
  const std::set<std::string> offered = tools.is_array() ? tool_names(tools) : std::set<std::string>();
  if (value->is_string()) {
    if (value->get<std::string>() == "none") {
      choice.kind = ToolChoice::none;
    } else if (read_mode("tool_choice", *value, choice)) {
      return problem("tool_choice: must be \"none\", \"auto\", \"required\" or an object that names a function");
    }
  } else if (!value->is_object()) {
    return wrong_type("tool_choice", "a string or an object", *value);
  } else if (has_text(*value, "type") && value->at("type").get<std::string>() == "allowed_tools") {
    if (auto bad = read_allowed_tools(*value, offered, choice)) return bad;
  } else {
    const common_json* function = function_of(*value);
    const common_json& named = function != nullptr ? *function : *value;
    if (!has_text(named, "name")) return problem("tool_choice.function.name: must be a string");
    choice.kind = ToolChoice::named;
    choice.name = named.at("name").get<std::string>();
    if (!offered.empty() && !offered.contains(choice.name)) return problem("tool_choice: there is no tool of this name");
  }
  if (offered.empty() && choice.kind >= ToolChoice::required) return problem("tool_choice: there are no tools to choose from");
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

namespace {

// A schema that moves to `root` in another one: its references into itself follow.
common_json moved(const common_json& schema, const std::string& root) {
  if (schema.is_array()) {
    common_json list = common_json::array();
    for (const common_json& one : schema) list.push_back(moved(one, root));
    return list;
  }
  if (!schema.is_object()) return schema;
  common_json object = common_json::object();
  for (const auto& [key, value] : schema.items()) {
    const bool is_reference = key == "$ref" && value.is_string() && value.get<std::string>().starts_with("#");
    object[key] = is_reference ? common_json(root + value.get<std::string>().substr(1)) : moved(value, root);
  }
  return object;
}

// Puts a schema into `definitions`; returns a reference to it.
common_json defined(common_json& definitions, const std::string& name, const common_json& schema) {
  const std::string root = "#/$defs/" + name;
  definitions[name] = moved(schema, root);
  common_json reference = common_json::object();
  reference["$ref"] = root;
  return reference;
}

common_json object_schema(const common_json& properties) {
  common_json required = common_json::array();
  for (const auto& [name, value] : properties.items()) required.push_back(std::string(name));
  common_json schema = common_json::object();
  schema["type"] = "object";
  schema["properties"] = properties;
  schema["required"] = required;
  schema["additionalProperties"] = false;
  return schema;
}

}  // namespace

common_json call_schema(const common_json& tools, const ToolChoice& choice, const common_json& answer) {
  common_json definitions = common_json::object();
  common_json options = common_json::array();
  if (!answer.is_null()) options.push_back(defined(definitions, "answer", answer));
  for (const common_json& tool : tools) {
    const common_json& function = *function_of(tool);
    const std::string name = function.at("name").get<std::string>();
    if (!choice.allows(name)) continue;
    common_json fixed = common_json::object();
    fixed["const"] = name;
    common_json any = common_json::object();
    any["type"] = "object";
    const common_json* parameters = find(function, "parameters");
    common_json properties = common_json::object();
    properties["name"] = fixed;
    properties["arguments"] =
        defined(definitions, "tool" + std::to_string(options.size()), parameters == nullptr || parameters->empty() ? any : *parameters);
    options.push_back(object_schema(properties));
  }
  common_json schema = common_json::object();
  schema["$defs"] = definitions;
  schema["anyOf"] = options;
  return schema;
}

}  // namespace realm
