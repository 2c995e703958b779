#include "cli/interrupt.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdint>
#include <mutex>
#include <thread>

#include "cli/terminal.h"

namespace realm::cli {
namespace {

sigset_t interrupt_set() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

struct Interrupts::Impl {
  int signals = -1;
  int stop = -1;
  std::mutex mutex;
  std::function<void()> action;  // guarded
  std::thread thread;

  void wait() {
    pollfd watched[] = {{signals, POLLIN, 0}, {stop, POLLIN, 0}};
    while (true) {
      if (poll(watched, 2, -1) < 0) continue;
      if (watched[1].revents != 0) return;
      signalfd_siginfo info{};
      if (read(signals, &info, sizeof info) != sizeof info) continue;
      std::function<void()> act;
      {
        std::lock_guard lock(mutex);
        act = action;
      }
      if (!act) _exit(exit_interrupted);
      act();
    }
  }
};

Interrupts::Interrupts() : impl_(std::make_unique<Impl>()) {
  const sigset_t set = interrupt_set();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  impl_->signals = signalfd(-1, &set, SFD_CLOEXEC);
  impl_->stop = eventfd(0, EFD_CLOEXEC);
  impl_->thread = std::thread([this] { impl_->wait(); });
}

Interrupts::~Interrupts() {
  const uint64_t one = 1;
  if (write(impl_->stop, &one, sizeof one) == sizeof one) impl_->thread.join();
  close(impl_->signals);
  close(impl_->stop);
  const sigset_t set = interrupt_set();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void Interrupts::on_interrupt(std::function<void()> action) {
  std::lock_guard lock(impl_->mutex);
  impl_->action = std::move(action);
}

}  // namespace realm::cli
