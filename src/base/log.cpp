#include "base/log.h"

#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <memory>

namespace realm {
namespace {

constexpr char field_separator = '\x1e';  // between a message and its fields, and a field and the next

void append_escaped(spdlog::memory_buf_t& out, std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  out.push_back('"');
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20 || byte == 0x7f) {
      const char escape[] = {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
      out.append(escape, escape + sizeof escape);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

void append(spdlog::memory_buf_t& out, std::string_view text) { out.append(text.data(), text.data() + text.size()); }

// Calls part(text, is_field) for the message and each field.
template <class Part>
void split(std::string_view payload, Part part) {
  bool is_field = false;
  while (true) {
    const size_t end = std::min(payload.find(field_separator), payload.size());
    part(payload.substr(0, end), is_field);
    if (end == payload.size()) return;
    payload.remove_prefix(end + 1);
    is_field = true;
  }
}

class TextFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    append(out, "realm: ");
    const auto level = spdlog::level::to_string_view(message.level);
    append(out, {level.data(), level.size()});
    append(out, ":");
    split({message.payload.data(), message.payload.size()}, [&out](std::string_view text, bool) {
      out.push_back(' ');
      for (const char c : text) out.push_back(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
    });
    out.push_back('\n');
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<TextFormatter>(); }
};

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const auto since_epoch = message.time.time_since_epoch();
    const auto second = std::chrono::duration_cast<std::chrono::seconds>(since_epoch);
    const auto millisecond = std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch - second).count();
    const std::time_t time = second.count();
    std::tm utc{};
    gmtime_r(&time, &utc);
    char stamp[40];
    const size_t length = std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    std::snprintf(stamp + length, sizeof stamp - length, ".%03dZ", static_cast<int>(millisecond));
    append(out, "{\"time\":");
    append_escaped(out, stamp);
    append(out, ",\"level\":");
    const auto level = spdlog::level::to_string_view(message.level);
    append_escaped(out, {level.data(), level.size()});
    split({message.payload.data(), message.payload.size()}, [&out](std::string_view text, bool is_field) {
      const size_t equals = is_field ? text.find('=') : std::string_view::npos;
      out.push_back(',');
      append_escaped(out, is_field ? text.substr(0, equals) : "message");
      out.push_back(':');
      append_escaped(out, is_field ? text.substr(equals + 1) : text);
    });
    append(out, "}\n");
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

}  // namespace

spdlog::logger& log() {
  // Leaked: threads may log until the very end of the process.
  static auto* logger = [] {
    auto* made = new spdlog::logger("realm", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    isatty(STDERR_FILENO) == 1 ? made->set_formatter(std::make_unique<TextFormatter>())
                               : made->set_formatter(std::make_unique<JsonFormatter>());
    const char* level = std::getenv("REALM_LOG");
    made->set_level(level == nullptr ? spdlog::level::warn : spdlog::level::from_str(level));
    return made;
  }();
  return *logger;
}

void log_fields(spdlog::level::level_enum level, std::string_view message, LogFields fields) {
  if (!log().should_log(level)) return;
  std::string line(message);
  for (const auto& [name, value] : fields) {
    if (value.empty()) continue;
    line += field_separator;
    line += name;
    line += '=';
    for (const char c : value) line += c == field_separator ? ' ' : c;
  }
  log().log(level, "{}", line);
}

}  // namespace realm
