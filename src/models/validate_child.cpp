#include "models/validate_child.h"

#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <sstream>

#include "base/clock.h"

namespace realm::models {
namespace {

constexpr rlim_t cpu_s_max = 20;
constexpr rlim_t memory_bytes_max = rlim_t{2} << 30;
constexpr size_t answer_bytes_max = 4'096;
constexpr int answer_descriptor = 1;

void limit(int what, rlim_t most) {
  const rlimit value{most, most};
  setrlimit(static_cast<__rlimit_resource>(what), &value);
}

bool confine(uint64_t file_bytes) {
  limit(RLIMIT_CPU, cpu_s_max);
  limit(RLIMIT_AS, memory_bytes_max + file_bytes);
  limit(RLIMIT_FSIZE, 0);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_NOFILE, 0);
  limit(RLIMIT_NPROC, 0);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
  if (filter == nullptr) return false;
  bool ok = true;
  for (const int call : {SCMP_SYS(write), SCMP_SYS(munmap), SCMP_SYS(brk), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex),
                         SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn), SCMP_SYS(clock_gettime)}) {
    ok = ok && seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) == 0;
  }
  // Memory, but none that can be executed: the third argument is the protection.
  const scmp_arg_cmp not_executable{.arg = 2, .op = SCMP_CMP_MASKED_EQ, .datum_a = PROT_EXEC, .datum_b = 0};
  for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) {
    ok = ok && seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, not_executable) == 0;
  }
  ok = ok && seccomp_load(filter) == 0;
  seccomp_release(filter);
  return ok;
}

bool say(const std::string& text) { return write(answer_descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size()); }

// "ok <numbers> <architecture> <quantization>" or "bad <what>".
std::string answer_text(const Result<GgufSummary>& checked) {
  if (!checked) return "bad " + checked.error().message;
  const GgufSummary& found = *checked;
  std::ostringstream text;
  text << "ok " << found.parameters << ' ' << found.bytes << ' ' << found.context_tokens << ' ' << found.vocabulary_tokens << ' '
       << found.kv_bytes_per_token << ' ' << found.parts << ' ' << (found.architecture.empty() ? "-" : found.architecture) << ' '
       << (found.quantization.empty() ? "-" : found.quantization);
  return text.str();
}

Result<GgufSummary> parse_answer(const std::string& answer) {
  std::istringstream text(answer);
  std::string kind;
  text >> kind;
  GgufSummary found;
  if (kind == "ok" && text >> found.parameters >> found.bytes >> found.context_tokens >> found.vocabulary_tokens >>
                          found.kv_bytes_per_token >> found.parts >> found.architecture >> found.quantization) {
    return found;
  }
  if (kind == "bad") return fail(ErrorCode::corrupt, answer.substr(std::min<size_t>(4, answer.size())));
  return fail(ErrorCode::corrupt, "its check said nothing that can be understood");
}

struct Descriptor {
  int number = -1;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

Result<pid_t> spawn(const std::filesystem::path& executable, int file, int answer) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, file, 0);
  posix_spawn_file_actions_adddup2(&actions, answer, answer_descriptor);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  std::string name = executable.filename().string(), argument = validation_argument, descriptor = "0";
  char* const arguments[] = {name.data(), argument.data(), descriptor.data(), nullptr};
  char* const environment[] = {nullptr};
  pid_t child = 0;
  const int failed = posix_spawn(&child, executable.c_str(), &actions, nullptr, arguments, environment);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return fail(ErrorCode::io, "the check of a model file could not be started: " + std::string(std::strerror(failed)));
  return child;
}

// Until the child closes its end or the time is over; false then.
bool read_answer(int descriptor, std::string& answer) {
  const int64_t deadline_ns = monotonic_ns() + int64_t{validation_timeout_ms} * 1'000'000;
  while (answer.size() < answer_bytes_max) {
    const int64_t left_ms = (deadline_ns - monotonic_ns()) / 1'000'000;
    pollfd watched{descriptor, POLLIN, 0};
    if (left_ms <= 0 || poll(&watched, 1, static_cast<int>(left_ms)) == 0) return false;
    char buffer[1'024];
    const ssize_t count = read(descriptor, buffer, sizeof buffer);
    if (count <= 0) break;
    answer.append(buffer, static_cast<size_t>(count));
  }
  return true;
}

}  // namespace

int run_validation_child(int descriptor) {
  struct stat status {};
  if (fstat(descriptor, &status) != 0 || status.st_size <= 0) {
    say("bad it is empty");
    return 0;
  }
  const auto bytes = static_cast<size_t>(status.st_size);
  void* mapped = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (mapped == MAP_FAILED) {
    say("bad it cannot be mapped");
    return 0;
  }
  if (!confine(bytes)) return 2;
  say(answer_text(check_gguf({static_cast<const uint8_t*>(mapped), bytes})));
  _exit(0);
}

Result<GgufSummary> validate_in_child(const std::filesystem::path& executable, const std::filesystem::path& file) {
  const std::string subject = "model file " + file.string() + ": ";
  const Descriptor opened{open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (opened.number < 0) return fail(errno == ENOENT ? ErrorCode::not_found : ErrorCode::io, subject + std::strerror(errno));
  struct stat status {};
  if (fstat(opened.number, &status) != 0 || !S_ISREG(status.st_mode))
    return fail(ErrorCode::invalid_argument, subject + "is not a regular file");
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(ErrorCode::io, subject + std::strerror(errno));
  const Descriptor answer_end{ends[0]};
  Result<pid_t> child = fail(ErrorCode::io, "");
  {
    const Descriptor child_end{ends[1]};
    child = spawn(executable, opened.number, child_end.number);
  }
  if (!child) return fail(std::move(child).error().code, subject + child.error().message);
  std::string answer;
  const bool in_time = read_answer(answer_end.number, answer);
  if (!in_time) kill(*child, SIGKILL);
  int ended = 0;
  while (waitpid(*child, &ended, 0) < 0 && errno == EINTR) {
  }
  if (!in_time)
    return fail(ErrorCode::corrupt, subject + "its check took longer than " + std::to_string(validation_timeout_ms / 1'000) + " s");
  if (WIFSIGNALED(ended)) return fail(ErrorCode::corrupt, subject + "its check died of signal " + std::to_string(WTERMSIG(ended)));
  if (WEXITSTATUS(ended) != 0) return fail(ErrorCode::io, subject + "its check could not be confined");
  auto checked = parse_answer(answer);
  if (!checked) return fail(checked.error().code, subject + checked.error().message);
  return checked;
}

}  // namespace realm::models
