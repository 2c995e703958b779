#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>

#include <cstdlib>
#include <memory>

namespace realm {

spdlog::logger& log() {
  // Leaked: threads may log until the very end of the process.
  static auto* logger = [] {
    auto* made = new spdlog::logger("realm", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("realm: %l: %v");
    const char* level = std::getenv("REALM_LOG");
    made->set_level(level == nullptr ? spdlog::level::warn : spdlog::level::from_str(level));
    return made;
  }();
  return *logger;
}

}  // namespace realm
