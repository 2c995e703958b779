// Work on what a stranger wrote, in a process of its own: whatever it does to the work, it does it there.
//
// The child is this product's executable, started again with an argument that names the work; its standard input is what it works on,
// its standard output takes the answer, there is no other descriptor and no environment. Once confined it can open no file and no
// socket and start no process: the kernel ends it at the first system call beyond memory, waiting and answering.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace realm {

struct ChildTask {
  std::filesystem::path executable;  // the product: /proc/self/exe
  std::string argument;              // the work's name
  int input = -1;                    // an open descriptor
  size_t answer_bytes_max = 4'096;   // what comes beyond is not read, and the child ends for it
  uint32_t timeout_ms = 60'000;
};

// What became of a child. The answer is to be believed only after `answered`.
struct ChildAnswer {
  enum class End : uint8_t { answered, too_slow, too_long, killed, not_confined };
  End end = End::answered;
  int signal = 0;  // of `killed`
  std::string bytes;
};

// Blocks. Any thread. The error is the system's.
Result<ChildAnswer> run_child(const ChildTask& task);

// "took longer than 60 s", "died of signal 9 (Killed)": for a sentence about the work. Of an end other than `answered`.
std::string describe(const ChildAnswer& answer, const ChildTask& task);

// -- the child's side

constexpr int child_input = 0;
constexpr int child_not_confined = 2;  // the exit code that says so

struct Confinement {
  uint32_t cpu_s_max = 10;                 // of all its threads
  uint64_t memory_bytes_max = 1ull << 30;  // of address space, beside what is mapped already
  // A compiler: it may have memory that can be executed, and the threads that it has already. No new ones either.
  bool compiles = false;
};

// From here on, for all threads of the process. False: it did not work, and nothing may be done that needs it.
bool confine(const Confinement& confinement);

bool send_answer(std::string_view bytes);

}  // namespace realm
