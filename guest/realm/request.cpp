#include "realm/request.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "realm/json_fields.h"

namespace realm {
namespace {

constexpr float top_p_lowest = 1e-6F;

Problem read_seed(const common_json& object, Request& request) {
  const common_json* value = find(object, "seed");
  if (value == nullptr) return {};
  if (!value->is_number_integer()) return wrong_type("seed", "an integer", *value);
  const int64_t seed = value->get<int64_t>();
  if (seed != -1) request.seed = static_cast<uint64_t>(seed);  // -1 is a random one, as in llama-server and vLLM
  return {};
}

Problem read_stop(const common_json& object, Request& request) {
  const common_json* value = find(object, "stop");
  if (value == nullptr) return {};
  if (value->is_string()) {
    request.stop.push_back(value->get<std::string>());
  } else if (value->is_array()) {
    for (const auto& item : *value) {
      if (!item.is_string()) return wrong_type("stop", "a string or an array of strings", item);
      request.stop.push_back(item.get<std::string>());
    }
  } else {
    return wrong_type("stop", "a string or an array of strings", *value);
  }
  if (request.stop.size() > stops_max) return problem("stop: at most " + std::to_string(stops_max) + " strings");
  for (const std::string& stop : request.stop) {
    if (stop.empty() || stop.size() > stop_bytes_max) {
      return problem("stop: each string must have 1 to " + std::to_string(stop_bytes_max) + " bytes");
    }
  }
  return {};
}

Problem read_logit_bias(const common_json& object, Request& request) {
  const common_json* value = find(object, "logit_bias");
  if (value == nullptr) return {};
  const char* shape = "an object from token ids to numbers, or an array of [id, number]";
  const auto add = [&](double id, double bias) -> Problem {
    if (!(id >= 0 && id <= std::numeric_limits<int32_t>::max()) || id != std::floor(id))
      return problem("logit_bias: a token id is out of range");
    if (!(bias >= -1e9 && bias <= 1e9)) return problem("logit_bias: a bias must be from -1e9 to 1e9");
    request.logit_bias.emplace_back(static_cast<int32_t>(id), static_cast<float>(bias));
    return {};
  };
  if (value->is_object()) {
    for (const auto& [id, bias] : value->items()) {
      char* end = nullptr;
      const double number = std::strtod(id.c_str(), &end);
      if (id.empty() || *end != '\0' || !bias.is_number()) return problem(std::string("logit_bias: must be ") + shape);
      if (auto bad = add(number, bias.get<double>())) return bad;
    }
  } else if (value->is_array()) {
    for (const auto& pair : *value) {
      if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number() || !pair[1].is_number()) {
        return problem(std::string("logit_bias: must be ") + shape);
      }
      if (auto bad = add(pair[0].get<double>(), pair[1].get<double>())) return bad;
    }
  } else {
    return wrong_type("logit_bias", shape, *value);
  }
  if (request.logit_bias.size() > logit_biases_max) return problem("logit_bias: at most " + std::to_string(logit_biases_max) + " entries");
  return {};
}

// Text parts become one string, a line each; whatever is not text is refused.
Problem flatten_content(const std::string& field, common_json& message) {
  if (!message.contains("content") || message.at("content").is_null() || message.at("content").is_string()) return {};
  const common_json& content = message.at("content");
  if (!content.is_array()) return wrong_type(field + ".content", "a string or an array of parts", content);
  std::string text;
  bool first = true;
  for (const auto& part : content) {
    const bool is_text = part.is_object() && part.contains("type") && part.at("type").is_string() &&
                         part.at("type").get<std::string>() == "text" && part.contains("text") && part.at("text").is_string();
    if (!is_text) return problem(field + ".content: only parts {\"type\": \"text\", \"text\": string} are supported");
    if (!first) text += '\n';
    text += part.at("text").get<std::string>();
    first = false;
  }
  message["content"] = text;
  return {};
}

}  // namespace

Problem read_messages(const common_json& object, Request& request) {
  const common_json* value = find(object, "messages");
  if (value == nullptr) return {};
  if (!value->is_array()) return wrong_type("messages", "an array", *value);
  if (value->empty()) return problem("messages: must not be empty");
  if (value->size() > messages_max) return problem("messages: at most " + std::to_string(messages_max));
  common_json messages = common_json::array();
  size_t index = 0;
  for (const auto& item : *value) {
    const std::string field = "messages[" + std::to_string(index++) + "]";
    if (!item.is_object()) return wrong_type(field, "an object", item);
    common_json message = item;
    if (!message.contains("role")) return problem(field + ".role: is missing");
    if (!message.at("role").is_string()) return wrong_type(field + ".role", "a string", message.at("role"));
    if (!message.contains("content") && !message.contains("tool_calls")) return problem(field + ".content: is missing");
    const bool calls = find(message, "tool_calls") != nullptr;
    if (calls && !message.at("tool_calls").is_array()) return wrong_type(field + ".tool_calls", "an array", message.at("tool_calls"));
    if (find(message, "content") == nullptr && !calls) return wrong_type(field + ".content", "a string or an array of parts", nullptr);
    if (auto bad = flatten_content(field, message)) return bad;
    // Templates know "system"; "developer" is OpenAI's newer word for it.
    if (message.at("role").get<std::string>() == "developer") message["role"] = "system";
    messages.push_back(message);
  }
  request.messages = messages;
  return {};
}

namespace {

Problem read_input(const common_json& object, Request& request) {
  if (const common_json* prompt = find(object, "prompt")) {
    if (!prompt->is_string()) return wrong_type("prompt", "a string", *prompt);
    request.prompt = prompt->get<std::string>();
  }
  if (auto bad = read_messages(object, request)) return bad;
  if (request.prompt.has_value() == request.messages.is_array()) {
    return problem("messages: give either messages or a prompt");
  }
  if (request.prompt && request.prompt->empty()) return problem("prompt: must not be empty");
  return {};
}

Problem read_model(const common_json& object, Request& request) {
  if (const common_json* model = find(object, "model")) {
    if (!model->is_string()) return wrong_type("model", "a string", *model);
    request.model = model->get<std::string>();
  }
  if (const common_json* tools = find(object, "tools")) {
    if (!tools->is_array()) return wrong_type("tools", "an array", *tools);
    request.tools = *tools;
  }
  if (const common_json* arguments = find(object, "chat_template_kwargs")) {
    if (!arguments->is_object()) return wrong_type("chat_template_kwargs", "an object", *arguments);
    request.template_arguments = *arguments;
  }
  if (const common_json* ignore = find(object, "ignore_eos")) {
    if (!ignore->is_boolean()) return wrong_type("ignore_eos", "a boolean", *ignore);
    request.ignore_eos = ignore->get<bool>();
  }
  return {};
}

Problem read_sampling(const common_json& object, Request& request) {
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  Problem bad;
  const auto check = [&bad](Problem found) { return (bad = std::move(found)).has_value(); };
  if (check(read_integer(object, "max_tokens", 1, most, request.max_tokens)) ||
      check(read_integer(object, "max_completion_tokens", 1, most, request.max_tokens)) ||
      check(read_number(object, "temperature", {0, 100}, request.temperature)) ||
      check(read_integer(object, "top_k", -1, most, request.top_k)) || check(read_number(object, "top_p", {0, 1}, request.top_p)) ||
      check(read_number(object, "min_p", {0, 1}, request.min_p)) ||
      check(read_number(object, "typical_p", {0, 1, true}, request.typical_p)) ||
      check(read_number(object, "repeat_penalty", {0, 100, true}, request.repeat_penalty)) ||
      check(read_number(object, "repetition_penalty", {0, 100, true}, request.repeat_penalty)) ||
      check(read_integer(object, "repeat_last_n", -1, most, request.repeat_last_n)) ||
      check(read_number(object, "frequency_penalty", {-100, 100}, request.frequency_penalty)) ||
      check(read_number(object, "presence_penalty", {-100, 100}, request.presence_penalty)) || check(read_seed(object, request)) ||
      check(read_stop(object, request)) || check(read_logit_bias(object, request))) {
    return bad;
  }
  request.top_k = std::max(request.top_k, 0);             // -1 is vLLM's word for all
  request.top_p = std::max(request.top_p, top_p_lowest);  // of 0 the likeliest token is left
  return {};
}

}  // namespace

Problem read_options(const common_json& object, Request& request) {
  if (auto bad = read_model(object, request)) return bad;
  if (auto bad = read_answer_shape(object, request.shape)) return problem(*bad);
  return read_sampling(object, request);
}

Problem read_request(const common_json& object, Request& request) {
  if (auto bad = read_input(object, request)) return bad;
  return read_options(object, request);
}

Problem parse_request(const std::string& text, Request& request) {
  common_json object;
  if (auto bad = parse_object(text, object)) return bad;
  return read_request(object, request);
}

}  // namespace realm
