#include "base/confined_child.h"

#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>

#include "base/background.h"
#include "base/clock.h"

namespace realm {
namespace {

constexpr int answer_descriptor = 1;

// A sanitizer's runtime makes pipes, opens files and starts threads while the work is done: its child has the limits, not the
// filter, and the environment with the sanitizer's options.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

struct Descriptor {
  int number = -1;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

Result<pid_t> spawn(const ChildTask& task, int answer) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, task.input, child_input);
  posix_spawn_file_actions_adddup2(&actions, answer, answer_descriptor);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  std::string name = task.executable.filename().string(), argument = task.argument, descriptor = std::to_string(child_input);
  char* const arguments[] = {name.data(), argument.data(), descriptor.data(), nullptr};
  char* const environment[] = {nullptr};
  pid_t child = 0;
  const int failed = posix_spawn(&child, task.executable.c_str(), &actions, nullptr, arguments, sanitized ? environ : environment);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return fail(ErrorCode::io, task.executable.string() + ": could not be started: " + std::strerror(failed));
  return child;
}

// Until the child closes its end, the answer is longer than it may be, or the time is over.
ChildAnswer::End read_answer(int descriptor, const ChildTask& task, std::string& answer) {
  const int64_t deadline_ns = monotonic_ns() + int64_t{task.timeout_ms} * 1'000'000;
  std::string buffer(64u << 10, '\0');
  while (true) {
    const int64_t left_ms = (deadline_ns - monotonic_ns()) / 1'000'000;
    pollfd watched{descriptor, POLLIN, 0};
    if (left_ms <= 0) return ChildAnswer::End::too_slow;
    const int ready = poll(&watched, 1, static_cast<int>(left_ms));
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    const ssize_t count = read(descriptor, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return ChildAnswer::End::answered;
    if (static_cast<size_t>(count) > task.answer_bytes_max - answer.size()) return ChildAnswer::End::too_long;
    answer.append(buffer.data(), static_cast<size_t>(count));
  }
}

void limit(int what, rlim_t most) {
  const rlimit value{most, most};
  setrlimit(static_cast<__rlimit_resource>(what), &value);
}

uint64_t mapped_bytes() {
  unsigned long long pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(file, "%llu", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// Of a call's first argument.
scmp_arg_cmp equals(uint64_t value) { return {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = value, .datum_b = 0}; }

bool allow(scmp_filter_ctx filter, const Confinement& confinement) {
  bool ok = true;
  for (const int call : {SCMP_SYS(write), SCMP_SYS(munmap), SCMP_SYS(brk), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex),
                         SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn), SCMP_SYS(clock_gettime)}) {
    ok = ok && seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) == 0;
  }
  // The third argument is the protection.
  const scmp_arg_cmp not_executable{.arg = 2, .op = SCMP_CMP_MASKED_EQ, .datum_a = PROT_EXEC, .datum_b = 0};
  for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) {
    ok = ok && (confinement.compiles ? seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) == 0
                                     : seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, not_executable) == 0);
  }
  if (!confinement.compiles) return ok;
  // The second line is what a thread does that has just been started, the rest what it does later.
  for (const int call :
       {SCMP_SYS(sched_yield), SCMP_SYS(getrandom), SCMP_SYS(gettid), SCMP_SYS(getpid),  //
        SCMP_SYS(rseq), SCMP_SYS(set_robust_list), SCMP_SYS(rt_sigprocmask), SCMP_SYS(sigaltstack), SCMP_SYS(sched_getaffinity)}) {
    ok = ok && seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) == 0;
  }
  ok = ok && seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, equals(PR_SET_NAME)) == 0;
  // The C library looks for a setting of the system when it gives memory of a thread back, and does without.
  ok = ok && seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 0) == 0;
  // abort(), when memory is used up.
  ok = ok && seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, equals(static_cast<uint64_t>(getpid()))) == 0;
  return ok;
}

}  // namespace

Result<ChildAnswer> run_child(const ChildTask& task) {
  const BackgroundWork work;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(ErrorCode::io, std::strerror(errno));
  const Descriptor answer_end{ends[0]};
  Result<pid_t> child = fail(ErrorCode::io, "");
  {
    const Descriptor child_end{ends[1]};
    // A process has the priority of the thread that starts it, from its first instruction on.
    std::thread([&] {
      enter_background();
      child = spawn(task, child_end.number);
    }).join();
  }
  if (!child) return fail(std::move(child));
  ChildAnswer answer;
  answer.end = read_answer(answer_end.number, task, answer.bytes);
  if (answer.end != ChildAnswer::End::answered) kill(*child, SIGKILL);
  int ended = 0;
  while (waitpid(*child, &ended, 0) < 0 && errno == EINTR) {
  }
  if (answer.end != ChildAnswer::End::answered) return answer;
  if (WIFSIGNALED(ended)) {
    answer.end = ChildAnswer::End::killed;
    answer.signal = WTERMSIG(ended);
  } else if (WEXITSTATUS(ended) != 0) {
    answer.end = ChildAnswer::End::not_confined;
  }
  return answer;
}

std::string describe(const ChildAnswer& answer, const ChildTask& task) {
  switch (answer.end) {
    case ChildAnswer::End::too_slow:
      return "took longer than " + std::to_string(task.timeout_ms / 1'000) + " s";
    case ChildAnswer::End::too_long:
      return "gave more than " + std::to_string(task.answer_bytes_max >> 20) + " MiB";
    case ChildAnswer::End::killed:
      return "died of signal " + std::to_string(answer.signal);
    case ChildAnswer::End::not_confined:
    case ChildAnswer::End::answered:
      break;
  }
  return "could not be confined";
}

bool confine(const Confinement& confinement) {
  limit(RLIMIT_CPU, confinement.cpu_s_max);
  limit(RLIMIT_AS, mapped_bytes() + confinement.memory_bytes_max);
  limit(RLIMIT_FSIZE, 0);
  limit(RLIMIT_CORE, 0);
  if (sanitized) return true;
  limit(RLIMIT_NOFILE, 0);
  limit(RLIMIT_NPROC, 0);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
  if (filter == nullptr) return false;
  const bool ok = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0 && allow(filter, confinement) && seccomp_load(filter) == 0;
  seccomp_release(filter);
  return ok;
}

bool send_answer(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(answer_descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace realm
