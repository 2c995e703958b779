// Standard error as a person sees it: one line for a failure, a moving line while something takes time.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/result.h"

namespace realm::cli {

constexpr int exit_failure = 1;
constexpr int exit_interrupted = 130;  // what a shell shows of a process that Ctrl-C ended
constexpr int exit_usage = 2;

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();

// Prints "realm: message" to stderr and returns the exit code for it.
int report(const Error& error);

// A spinner with a text on stderr while it lives, when stderr is a terminal; nothing otherwise. It keeps to one line: what does not
// fit into the terminal's width is not shown.
class Spinner {
 public:
  explicit Spinner(std::string text);
  ~Spinner();
  Spinner(const Spinner&) = delete;
  Spinner& operator=(const Spinner&) = delete;
  void set_fraction(float fraction) noexcept { fraction_.store(fraction, std::memory_order_relaxed); }
  void set_text(std::string text);  // any thread
  void stop();                      // clears the line; safe to call twice

 private:
  void draw(const char* frame);
  std::mutex mutex_;
  std::string text_;  // guarded
  std::atomic<float> fraction_{-1};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// Text that may go to a terminal: control characters other than line breaks and tabs are left out, so that no answer can move the
// cursor or recolour the screen.
std::string printable(std::string_view text);

}  // namespace realm::cli
