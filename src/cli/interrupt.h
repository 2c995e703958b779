// Ctrl-C and SIGTERM, as something to ask and to be told about. The handler only counts; a thread that waits for the signal does the rest.
#pragma once

#include <functional>
#include <memory>

namespace realm::cli {

// Takes SIGINT and SIGTERM over for as long as it lives; one at a time. Make it before other threads, so that they all leave the signal to
// it.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // `action` runs on the waiting thread at each signal; null: the process ends with 130, as it would by itself.
  void on_interrupt(std::function<void()> action);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace realm::cli
