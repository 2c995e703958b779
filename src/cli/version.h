// The product's version, as --version and the server's metrics tell it.
#pragma once

namespace realm::cli {

constexpr const char* version = REALM_VERSION;

}  // namespace realm::cli
