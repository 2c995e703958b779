#include "http/routes.h"

#include <algorithm>
#include <array>

namespace realm::http {
namespace {

using boost::beast::http::verb;

// Answered by the program; what each does is its business alone (docs/http_api.md).
constexpr std::array program_paths = {
    std::string_view("/v1/chat/completions"),
    std::string_view("/v1/completions"),
    std::string_view("/v1/responses"),
    std::string_view("/v1/embeddings"),
    std::string_view("/v1/rerank"),
    std::string_view("/rerank"),
    std::string_view("/v1/messages"),
    std::string_view("/v1/messages/count_tokens"),
    std::string_view("/tokenize"),
    std::string_view("/detokenize"),
};

struct HostPath {
  std::string_view path;
  RouteKind kind;
};
constexpr HostPath host_paths[] = {{"/v1/models", RouteKind::models},
                                   {"/healthz", RouteKind::health},
                                   {"/readyz", RouteKind::ready},
                                   {"/metrics", RouteKind::metrics},
                                   {"/openapi.json", RouteKind::description}};
constexpr std::string_view admin_prefix = "/admin/v1/";
constexpr std::string_view programs_path = "/v1/programs";
constexpr std::string_view programs_prefix = "/v1/programs/";
constexpr std::string_view run_suffix = "/run";

bool is_run(std::string_view path) {
  const std::string_view name = program_name(path);
  return !name.empty() && path.size() > programs_prefix.size() + name.size();
}

bool is_program(std::string_view path) {
  return std::find(program_paths.begin(), program_paths.end(), path) != program_paths.end() || is_run(path);
}

RouteKind host_kind(std::string_view path) {
  for (const HostPath& host : host_paths) {
    if (path == host.path) return host.kind;
  }
  if (path == programs_path || !program_name(path).empty()) return RouteKind::programs;
  return path.starts_with("/v1/models/") ? RouteKind::models : RouteKind::unknown;
}

}  // namespace

std::string_view program_name(std::string_view path) {
  if (!path.starts_with(programs_prefix)) return {};
  path.remove_prefix(programs_prefix.size());
  const auto slash = path.find('/');
  if (slash != std::string_view::npos && path.substr(slash) != run_suffix) return {};
  return path.substr(0, slash);
}

RouteKind route_kind(const Request& request) {
  const std::string_view path = request.path;
  if (path.starts_with(admin_prefix)) return RouteKind::admin;
  const bool program = is_program(path);
  const RouteKind host = host_kind(path);
  if (!program && host == RouteKind::unknown) return RouteKind::unknown;
  if (request.method == verb::options) return RouteKind::preflight;
  if (program) return request.method == verb::post ? RouteKind::program : RouteKind::bad_method;
  const bool changes = request.method == verb::put || request.method == verb::delete_;
  if (changes && !program_name(path).empty()) return RouteKind::programs;
  return request.method == verb::get || request.method == verb::head ? host : RouteKind::bad_method;
}

std::string_view allowed_methods(std::string_view path) {
  if (is_program(path)) return "POST, OPTIONS";
  return program_name(path).empty() ? "GET, HEAD, OPTIONS" : "GET, HEAD, PUT, DELETE, OPTIONS";
}

Protocol protocol_of(std::string_view path) {
  if (path.starts_with("/v1/messages")) return Protocol::anthropic;
  return path.starts_with(admin_prefix) ? Protocol::admin : Protocol::openai;
}

}  // namespace realm::http
