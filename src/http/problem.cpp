#include "http/problem.h"

#include <boost/json.hpp>

namespace realm::http {
namespace {

// OpenAI's `error.type` for a status. What is wrong in particular, such as a key or a model, its `code` says.
std::string_view openai_type(uint16_t status) {
  if (status == 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}

// Anthropic's `error.type` for a status.
std::string_view anthropic_type(uint16_t status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status < 500 ? "invalid_request_error" : "api_error";
  }
}

boost::json::object problem_body(Protocol protocol, const Problem& problem, std::string_view request_id) {
  if (protocol == Protocol::anthropic) {
    return {
        {"type", "error"}, {"error", {{"type", anthropic_type(problem.status)}, {"message", problem.message}}}, {"request_id", request_id}};
  }
  return {{"error",
           {{"message", problem.message},
            {"type", openai_type(problem.status)},
            {"param", problem.param.empty() ? boost::json::value(nullptr) : boost::json::value(problem.param)},
            {"code", problem.code},
            {"request_id", request_id}}}};
}

}  // namespace

Problem problem_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::invalid_argument:
      return {400, "invalid_request", error.message};
    case ErrorCode::context_exceeded:
      return {400, "context_length_exceeded", error.message};
    case ErrorCode::permission_denied:
      return {403, "permission_denied", error.message};
    case ErrorCode::not_found:
      return {404, "not_found", error.message};
    case ErrorCode::already_exists:
      return {409, "already_exists", error.message};
    case ErrorCode::resource_exhausted:
      return {429, "limit_reached", error.message, 1};
    case ErrorCode::too_large:
      return {507, "insufficient_storage", error.message};
    case ErrorCode::cancelled:
      return {499, "cancelled", error.message};
    case ErrorCode::unsupported:
      return {501, "unsupported", error.message};
    case ErrorCode::unavailable:
      return {503, "unavailable", error.message, 1};
    case ErrorCode::deadline_exceeded:
      return {504, "deadline_exceeded", error.message};
    case ErrorCode::program_failed:
      return {500, "program_failed", error.message};
    case ErrorCode::corrupt:
    case ErrorCode::io:
      break;
  }
  return {500, "internal_error", error.message};
}

Response problem_response(Protocol protocol, const Problem& problem, std::string_view request_id) {
  Response response{.status = problem.status, .body = boost::json::serialize(problem_body(protocol, problem, request_id))};
  response.headers = problem.headers;
  if (problem.retry_after_s > 0) response.headers.emplace_back("Retry-After", std::to_string(problem.retry_after_s));
  if (problem.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

std::string problem_event(Protocol protocol, const Problem& problem, std::string_view request_id) {
  return boost::json::serialize(problem_body(protocol, problem, request_id));
}

}  // namespace realm::http
