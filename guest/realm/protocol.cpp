#include "realm/protocol.h"

#include <cstdlib>
#include <ctime>

namespace realm {
namespace {

Protocol spoken = Protocol::openai;
bool streaming = false;

common_json error_body(uint32_t status, std::string_view code, std::string_view message, std::string_view param) {
  common_json error = common_json::object();
  common_json body = common_json::object();
  const char* type = status == 404 ? "not_found_error" : status >= 500 ? "api_error" : "invalid_request_error";
  if (spoken == Protocol::anthropic) {
    error["type"] = type;
    error["message"] = message;
    body["type"] = "error";
    body["error"] = error;
    body["request_id"] = request_id();
    return body;
  }
  error["message"] = message;
  error["type"] = status >= 500 ? "server_error" : "invalid_request_error";
  error["param"] = param.empty() ? common_json(nullptr) : common_json(param);
  error["code"] = code.empty() ? common_json(nullptr) : common_json(code);
  body["error"] = error;
  return body;
}

// The field that a message begins with: "temperature: must be ...", "messages[0].content: ...".
std::string_view field_of(std::string_view message) {
  const size_t colon = message.find(": ");
  if (colon == std::string_view::npos) return {};
  const std::string_view field = message.substr(0, colon);
  const bool is_field =
      field.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789[].") == std::string_view::npos;
  return is_field ? field : std::string_view();
}

// What the kit fails with. What the host alone can answer well (try again later, an internal error) is left to it.
void write_failure(realm_failure failure, std::string_view message) {
  if (streaming) return;
  if (failure == REALM_FAIL_BAD_REQUEST) refuse(400, "", message, field_of(message));
  if (failure == REALM_FAIL_CONTEXT_EXCEEDED) refuse(400, "context_length_exceeded", message, field_of(message));
  if (failure == REALM_FAIL_MODEL_NOT_FOUND) refuse(404, "model_not_found", message, "model");
}

}  // namespace

void speak(Protocol protocol) {
  spoken = protocol;
  failure_writer = write_failure;
}

void refuse(uint32_t status, std::string_view code, std::string_view message, std::string_view param) {
  failure_writer = nullptr;
  const std::string body = error_body(status, code, message, param).dump_safe();
  respond(status, REALM_CONTENT_JSON);
  emit(REALM_EMIT_BODY, body);
  std::_Exit(0);
}

void refuse_if(const Problem& problem) {
  if (problem) refuse(400, "", problem->message, field_of(problem->message));
}

void reply(const common_json& body) {
  const std::string text = body.dump_safe();
  respond(200, REALM_CONTENT_JSON);
  emit(REALM_EMIT_BODY, text);
}

void send_event(std::string_view name, std::string_view data) {
  if (!streaming) {
    respond(200, REALM_CONTENT_EVENTS);
    streaming = true;
  }
  emit_event(name, data);
}

void send_event(std::string_view name, const common_json& data) { send_event(name, std::string_view(data.dump_safe())); }

std::string request_id() { return request_text(REALM_REQUEST_ID); }

int64_t unix_seconds() { return std::time(nullptr); }

std::string random_id(std::string_view prefix) {
  static constexpr char alphabet[] = "abcdefghijklmnopqrstuvwxyz012345";  // 32: every byte's low five bits
  uint8_t bytes[24];
  require(realm_random(bytes, sizeof bytes), "random");
  std::string id(prefix);
  for (const uint8_t byte : bytes) id += alphabet[byte & 31];
  return id;
}

common_json timings(const Usage& usage) {
  const uint32_t computed = usage.prompt_tokens - usage.cached_tokens;
  const auto rate = [](double tokens, double ms) { return ms > 0 ? tokens * 1e3 / ms : 0.0; };
  common_json object = common_json::object();
  object["queue_ms"] = usage.queue_ms;
  object["cache_n"] = usage.cached_tokens;
  object["prompt_n"] = computed;
  object["prompt_ms"] = usage.prefill_ms;
  object["prompt_per_second"] = rate(computed, usage.prefill_ms);
  object["predicted_n"] = usage.completion_tokens;
  object["predicted_ms"] = usage.decode_ms;
  object["predicted_per_second"] = rate(usage.completion_tokens, usage.decode_ms);
  return object;
}

}  // namespace realm
