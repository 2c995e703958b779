// What the server answers to.
#pragma once

#include <cstdint>
#include <string_view>

#include "http/message.h"

namespace realm::http {

enum class RouteKind : uint8_t {
  program,      // a realm's program answers
  models,       // the models that a realm may use
  programs,     // the programs that a realm brought itself: list, show, upload, delete
  admin,        // /admin/v1
  health,       // /healthz
  ready,        // /readyz
  metrics,      // /metrics
  description,  // /openapi.json
  preflight,    // CORS
  bad_method,   // there is such a path, but not for this method
  unknown,
};

// Of a path below /v1/programs/: the program's name; otherwise empty.
std::string_view program_name(std::string_view path);

RouteKind route_kind(const Request& request);

// Of a path with `bad_method`: what may be done there, for the header Allow.
std::string_view allowed_methods(std::string_view path);

Protocol protocol_of(std::string_view path);

}  // namespace realm::http
