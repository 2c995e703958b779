#include "cli/terminal.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>

namespace realm::cli {

bool stdin_is_terminal() { return isatty(STDIN_FILENO) == 1; }
bool stdout_is_terminal() { return isatty(STDOUT_FILENO) == 1; }
bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }

int report(const Error& error) {
  std::fprintf(stderr, "realm: %s\n", printable(error.message).c_str());
  return exit_failure;
}

Spinner::Spinner(std::string text) : text_(std::move(text)) {
  if (!stderr_is_terminal()) return;
  thread_ = std::thread([this] {
    static constexpr const char* frames[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
    for (unsigned turn = 0; !stopping_.load(std::memory_order_relaxed); ++turn) {
      draw(frames[turn % 10]);
      std::this_thread::sleep_for(std::chrono::milliseconds(80));
    }
    std::fprintf(stderr, "\r\033[K");
    std::fflush(stderr);
  });
}

// The terminal does not wrap meanwhile: erasing reaches only the line that the cursor is in.
void Spinner::draw(const char* frame) {
  const float fraction = fraction_.load(std::memory_order_relaxed);
  std::string line = std::string("\r\033[K\033[?7l") + frame + " ";
  {
    std::lock_guard lock(mutex_);
    line += printable(text_);
  }
  if (fraction >= 0) line += " " + std::to_string(static_cast<int>(100 * fraction)) + " %";
  line += "\033[?7h";
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

void Spinner::set_text(std::string text) {
  std::lock_guard lock(mutex_);
  text_ = std::move(text);
}

Spinner::~Spinner() { stop(); }

void Spinner::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  if (thread_.joinable()) thread_.join();
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) continue;
    // U+0080 to U+009F, the second set of control characters.
    if (c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) {
      ++i;
      continue;
    }
    out += static_cast<char>(c);
  }
  return out;
}

}  // namespace realm::cli
