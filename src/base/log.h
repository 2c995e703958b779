// The process's log: one line an event, to stderr. Never a prompt, an answer or a key.
#pragma once

#include <spdlog/spdlog.h>

namespace realm {

// Any thread. The level comes from REALM_LOG (debug, info, warning, error, off); warning unless set.
spdlog::logger& log();

}  // namespace realm
