#include "models/validate_child.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <sstream>

#include "base/confined_child.h"

namespace realm::models {
namespace {

constexpr Confinement confinement{.cpu_s_max = 20, .memory_bytes_max = 2ull << 30};

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

}  // namespace

int run_validation_child(int descriptor) {
  struct stat status {};
  if (fstat(descriptor, &status) != 0 || status.st_size <= 0) {
    send_answer("bad it is empty");
    return 0;
  }
  const auto bytes = static_cast<size_t>(status.st_size);
  void* mapped = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (mapped == MAP_FAILED) {
    send_answer("bad it cannot be mapped");
    return 0;
  }
  if (!confine(confinement)) return child_not_confined;
  send_answer(answer_text(check_gguf({static_cast<const uint8_t*>(mapped), bytes})));
  _exit(0);
}

Result<GgufSummary> validate_in_child(const std::filesystem::path& executable, const std::filesystem::path& file) {
  const std::string subject = "model file " + file.string() + ": ";
  const Descriptor opened{open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (opened.number < 0) return fail(errno == ENOENT ? ErrorCode::not_found : ErrorCode::io, subject + std::strerror(errno));
  struct stat status {};
  if (fstat(opened.number, &status) != 0 || !S_ISREG(status.st_mode))
    return fail(ErrorCode::invalid_argument, subject + "is not a regular file");
  const ChildTask task{.executable = executable, .argument = validation_argument, .input = opened.number};
  const auto child = run_child(task);
  if (!child) return fail(child.error().code, subject + "its check failed: " + child.error().message);
  if (child->end != ChildAnswer::End::answered) {
    const bool of_the_file = child->end != ChildAnswer::End::not_confined;
    return fail(of_the_file ? ErrorCode::corrupt : ErrorCode::io, subject + "its check " + describe(*child, task));
  }
  auto checked = parse_answer(child->bytes);
  if (!checked) return fail(checked.error().code, subject + checked.error().message);
  return checked;
}

}  // namespace realm::models
