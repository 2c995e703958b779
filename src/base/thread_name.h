// Names of threads, for an operator's `top -H`, a debugger or a profile.
#pragma once

#include <array>
#include <thread>
#include <utility>

namespace realm {

// At most 15 characters, else the name stays as it was. Threads that the calling thread starts from now on inherit it.
void name_this_thread(const char* name) noexcept;

// Runs `work` on a thread of that name.
template <class Work>
std::thread start_thread(const char* name, Work work) {
  return std::thread([name, work = std::move(work)]() mutable {
    name_this_thread(name);
    work();
  });
}

// While one lives, the calling thread has that name, and what it starts keeps it.
class NamedThreads {
 public:
  explicit NamedThreads(const char* name) noexcept;
  ~NamedThreads();
  NamedThreads(const NamedThreads&) = delete;
  NamedThreads& operator=(const NamedThreads&) = delete;

 private:
  std::array<char, 16> before_{};
};

}  // namespace realm
