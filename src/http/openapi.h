// What GET /openapi.json answers: the whole HTTP API in OpenAPI 3.1.
#pragma once

#include <string_view>

namespace realm::http {

extern const std::string_view openapi_document;

}  // namespace realm::http
