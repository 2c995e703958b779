#include "realm/openai_fields.h"

namespace realm {

void set_openai_defaults(Request& request) {
  request.temperature = 1;
  request.top_p = 1;
  request.top_k = 0;
  request.min_p = 0;
}

StreamOptions read_stream(const common_json& body) {
  StreamOptions options;
  refuse_if(read_bool(body, "stream", options.stream));
  const common_json* value = find(body, "stream_options");
  if (value == nullptr) return options;
  if (!value->is_object()) refuse_if(wrong_type("stream_options", "an object", *value));
  if (!options.stream) refuse(400, "", "stream_options: only with \"stream\": true", "stream_options");
  refuse_if(read_bool(*value, "include_usage", options.include_usage));
  return options;
}

uint32_t read_copies(const common_json& body) {
  uint32_t copies = 1;
  refuse_if(read_integer(body, "n", 1, copies_max, copies));
  return copies;
}

void refuse_unsupported(const common_json& body) {
  bool store = false;
  refuse_if(read_bool(body, "store", store));
  if (store) refuse(400, "unsupported_value", "store: answers are not stored here; leave it out or set it to false", "store");
  std::string user;
  for (const char* field : {"user", "safety_identifier", "prompt_cache_key", "service_tier", "reasoning_effort"}) {
    refuse_if(read_text(body, field, user));
  }
  if (const common_json* metadata = find(body, "metadata"); metadata != nullptr && !metadata->is_object()) {
    refuse_if(wrong_type("metadata", "an object", *metadata));
  }
  if (const common_json* modalities = find(body, "modalities")) {
    if (!modalities->is_array()) refuse_if(wrong_type("modalities", "an array", *modalities));
    for (const common_json& one : *modalities) {
      if (!one.is_string() || one.get<std::string>() != "text")
        refuse(400, "unsupported_value", "modalities: only \"text\" is supported", "modalities");
    }
  }
  for (const char* field : {"audio", "functions", "function_call", "web_search_options"}) {
    if (find(body, field) != nullptr) refuse(400, "unsupported_parameter", std::string(field) + ": is not supported", field);
  }
}

common_json openai_usage(const Usage& usage) {
  common_json prompt_details = common_json::object();
  prompt_details["cached_tokens"] = usage.cached_tokens;
  common_json completion_details = common_json::object();
  completion_details["reasoning_tokens"] = usage.reasoning_tokens;
  common_json object = common_json::object();
  object["prompt_tokens"] = usage.prompt_tokens;
  object["completion_tokens"] = usage.completion_tokens;
  object["total_tokens"] = usage.prompt_tokens + usage.completion_tokens;
  object["prompt_tokens_details"] = prompt_details;
  object["completion_tokens_details"] = completion_details;
  return object;
}

const char* finish_reason(const Ending& ending, bool called) {
  if (called) return "tool_calls";
  return ending.stopped ? "stop" : "length";
}

namespace {

common_json bytes_of(const std::string& text) {
  common_json bytes = common_json::array();
  for (const char c : text) bytes.push_back(static_cast<int32_t>(static_cast<unsigned char>(c)));
  return bytes;
}

}  // namespace

common_json logprob_entry(const TokenLogprob& token) {
  common_json top = common_json::array();
  for (const auto& [text, logprob] : token.top) {
    common_json one = common_json::object();
    one["token"] = text;
    one["logprob"] = logprob;
    one["bytes"] = bytes_of(text);
    top.push_back(one);
  }
  common_json entry = common_json::object();
  entry["token"] = token.text;
  entry["logprob"] = token.logprob;
  entry["bytes"] = bytes_of(token.text);
  entry["top_logprobs"] = top;
  return entry;
}

}  // namespace realm
