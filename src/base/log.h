// The process's log: one line an event, to stderr. Text on a terminal, JSON objects otherwise. Never a prompt, an answer or a key.
#pragma once

#include <spdlog/spdlog.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace realm {

// Any thread. The level comes from REALM_LOG (debug, info, warning, error, off); warning unless set.
spdlog::logger& log();

// What a line says besides its message; a field with an empty value is left out.
using LogFields = std::initializer_list<std::pair<std::string_view, std::string>>;

// A line with fields: `message key=value` on a terminal, members of the object otherwise. Any thread.
void log_fields(spdlog::level::level_enum level, std::string_view message, LogFields fields);

}  // namespace realm
