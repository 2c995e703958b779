#include "http/gatekeeper.h"

#include <algorithm>
#include <charconv>

namespace realm::http {
namespace {

constexpr uint64_t admin_body_bytes_max = 64u << 10;
constexpr uint64_t bytes_a_token = 4;  // a guess, settled by what is counted

// The key of the clients of either protocol: `Authorization: Bearer`, or `x-api-key`.
std::string_view presented_key(const Request& request) {
  constexpr std::string_view bearer = "bearer ";
  std::string_view value = request.header("authorization");
  if (value.size() > bearer.size() && boost::beast::iequals(boost::beast::string_view(value.data(), bearer.size()),
                                                            boost::beast::string_view(bearer.data(), bearer.size()))) {
    value.remove_prefix(bearer.size());
    while (value.starts_with(' ')) value.remove_prefix(1);
    return value;
  }
  return request.header("x-api-key");
}

// The name in a Host header or an origin, without its port.
std::string host_name(std::string_view value) {
  if (const auto scheme = value.find("://"); scheme != std::string_view::npos) value.remove_prefix(scheme + 3);
  if (value.starts_with('[')) return std::string(value.substr(0, std::min(value.find(']') + 1, value.size())));
  return std::string(value.substr(0, value.find(':')));
}

uint64_t estimated_tokens(const Request& request) {
  const std::string_view length = request.header("content-length");
  uint64_t bytes = 0;
  std::from_chars(length.data(), length.data() + length.size(), bytes);
  return bytes / bytes_a_token + 1;
}

Problem unauthenticated(const Request& request, std::string message) {
  return {401, protocol_of(request.path) == Protocol::anthropic ? "authentication_error" : "invalid_api_key", std::move(message)};
}

}  // namespace

Gatekeeper::Gatekeeper(const GatekeeperOptions& options, tenants::Tenants& tenants, const ServerMetrics& metrics)
    : options_(options),
      tenants_(tenants),
      metrics_(metrics),
      default_realm_(
          std::make_shared<const tenants::Realm>(tenants::Realm{.id = "default", .name = "default", .models = {}, .limits = {}})),
      uploads_(options.uploads_max, options.uploads_of_realm_max) {}

std::expected<tenants::Identity, Problem> Gatekeeper::identify(const Request& request) const {
  const tenants::Identity nobody{.realm = default_realm_, .key_id = "", .scopes = tenants::scope_inference};
  // Who may open the socket's file is the operator, who may act for any realm.
  if (const std::string_view name = request.header("realm-name"); request.from_local_socket && !name.empty()) {
    auto realm = tenants_.realm(name);
    if (!realm) return std::unexpected(problem_of(realm.error()));
    return tenants::Identity{.realm = std::move(*realm), .key_id = "", .scopes = tenants::scope_inference};
  }
  // Before the first realm is made, a server on this machine alone serves whoever is on it. Clients that insist on sending a key may.
  if (options_.loopback_only && !tenants_.had_realms()) return nobody;
  const std::string_view key = presented_key(request);
  if (key.empty()) {
    if (options_.anonymous) return nobody;
    return std::unexpected(unauthenticated(request, "no API key; send it as `Authorization: Bearer rk_...` or `x-api-key: rk_...`"));
  }
  auto identity = tenants_.authenticate(key);
  if (!identity) return std::unexpected(unauthenticated(request, identity.error().message));
  return std::move(*identity);
}

std::expected<std::unique_ptr<Caller>, Problem> Gatekeeper::admit(const Request& request) const {
  auto admitted = std::make_unique<Admitted>();
  admitted->kind = route_kind(request);
  switch (admitted->kind) {
    case RouteKind::program:
    case RouteKind::models:
    case RouteKind::programs:
      return admit_tenant(request, std::move(admitted));
    case RouteKind::admin:
      return admit_operator(request, std::move(admitted));
    case RouteKind::metrics:
      if (options_.loopback_only) return admitted;
      return admit_operator(request, std::move(admitted));
    case RouteKind::bad_method:
      return std::unexpected(Problem{.status = 405,
                                     .code = "method_not_allowed",
                                     .message = "this path takes " + std::string(allowed_methods(request.path)),
                                     .headers = {{"Allow", std::string(allowed_methods(request.path))}}});
    case RouteKind::unknown:
      return std::unexpected(Problem{404, "not_found", "there is no such path; /openapi.json lists them"});
    case RouteKind::health:
    case RouteKind::ready:
    case RouteKind::description:
    case RouteKind::preflight:
      break;
  }
  return admitted;
}

std::expected<std::unique_ptr<Caller>, Problem> Gatekeeper::admit_tenant(const Request& request, std::unique_ptr<Admitted> admitted) const {
  auto identity = identify(request);
  if (!identity) return std::unexpected(identity.error());
  if ((identity->scopes & tenants::scope_inference) == 0 || !identity->realm) {
    return std::unexpected(Problem{403, "permission_denied", "this API key is not for inference"});
  }
  admitted->call.realm = identity->realm;
  admitted->call.key_id = identity->key_id;
  const uint64_t own = identity->realm->limits.body_bytes_max;
  admitted->body_bytes_max = own > 0 ? own : options_.body_bytes_max;
  const bool is_upload = admitted->kind == RouteKind::programs && request.method == boost::beast::http::verb::put;
  if (admitted->kind != RouteKind::program && !is_upload) return admitted;
  if (is_upload) {
    if (auto upload = admit_upload(*admitted); !upload) return std::unexpected(upload.error());
  }
  auto admission = tenants_.admit(*identity->realm, is_upload ? 1 : estimated_tokens(request));
  if (!admission) {
    const tenants::RateRefusal& refusal = admission.error();
    // Those at once have no bucket that fills by the clock: a place is free when one of them ends.
    const auto retry_after_s = refusal.retry_after_ms > 0 ? static_cast<uint32_t>((refusal.retry_after_ms + 999) / 1'000)
                                                          : metrics_.retry_after_s(identity->realm->name);
    return std::unexpected(Problem{.status = 429,
                                   .code = "rate_limit_exceeded",
                                   .message = "the limit " + std::string(refusal.limit) + " of realm " + identity->realm->name +
                                              " is reached; try again in " + std::to_string(retry_after_s) + " s",
                                   .retry_after_s = retry_after_s,
                                   .headers = rate_headers(refusal.state)});
  }
  admitted->call.admission = std::move(*admission);
  return admitted;
}

std::expected<void, Problem> Gatekeeper::admit_upload(Admitted& admitted) const {
  const tenants::Realm& realm = *admitted.call.realm;
  const uint64_t own = realm.limits.program_bytes_max;
  admitted.body_bytes_max = own > 0 ? own : tenants::program_bytes_default_max;
  admitted.upload = uploads_.take(realm.id);
  if (admitted.upload) return {};
  return std::unexpected(Problem{429, "limit_reached", "too many programs are being uploaded at once; try again later", 1});
}

std::expected<std::unique_ptr<Caller>, Problem> Gatekeeper::admit_operator(const Request& request,
                                                                           std::unique_ptr<Admitted> admitted) const {
  admitted->body_bytes_max = admin_body_bytes_max;
  // Who may open the socket's file is the operator.
  if (request.from_local_socket) return admitted;
  // A page in the operator's browser must not reach this API, not even through a name that resolves to this machine.
  const auto known = [this](const std::string& name) {
    static constexpr std::string_view local[] = {"localhost", "127.0.0.1", "[::1]"};
    return std::find(std::begin(local), std::end(local), name) != std::end(local) ||
           std::find(options_.admin_hosts.begin(), options_.admin_hosts.end(), name) != options_.admin_hosts.end();
  };
  const std::string_view origin = request.header("origin");
  if (!known(host_name(request.header("host"))) || (!origin.empty() && !known(host_name(origin)))) {
    return std::unexpected(Problem{403, "permission_denied", "the admin API does not answer to this Host or Origin; see --admin-host"});
  }
  const std::string_view key = presented_key(request);
  if (key.empty()) return std::unexpected(unauthenticated(request, "no API key; this needs one with the scope admin"));
  const auto identity = tenants_.authenticate(key);
  if (!identity) return std::unexpected(unauthenticated(request, identity.error().message));
  if ((identity->scopes & tenants::scope_admin) == 0) {
    return std::unexpected(Problem{403, "permission_denied", "this API key does not have the scope admin"});
  }
  return admitted;
}

}  // namespace realm::http
