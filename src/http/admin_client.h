// How the command line reaches the server of a data folder: through its Unix socket.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "http/admin_api.h"

namespace realm::http {

// Blocks, at most 30 s. unavailable: nobody listens there, so no server runs.
Result<Response> call_admin(const std::filesystem::path& socket, const AdminCall& call);

}  // namespace realm::http
