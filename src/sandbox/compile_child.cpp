#include "sandbox/compile_child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/confined_child.h"
#include "base/sha256.h"
#include "sandbox/code_settings.h"
#include "sandbox/wasm_types.h"

namespace realm::sandbox {
namespace {

constexpr Confinement confinement{.cpu_s_max = 10, .memory_bytes_max = 1ull << 30, .compiles = true};
constexpr const char* compile_threads = "2";
constexpr size_t head_bytes_max = 128;

struct Descriptor {
  int number = -1;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

// Two functions, so that the compiler's threads start before the child is confined.
constexpr uint8_t warm_up[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 3, 2, 0, 0, 10, 7, 2, 2, 0, 0x0b, 2, 0, 0x0b};

WasmModule compile(wasm_engine_t* engine, const uint8_t* wasm, size_t size, std::string& fault) {
  wasmtime_module_t* module = nullptr;
  const WasmError error(wasmtime_module_new(engine, wasm, size, &module));
  if (error) fault = message_of(*error);
  return WasmModule(module);
}

std::optional<std::string> too_many(const wasmtime_module_t& module) {
  wasm_importtype_vec_t imports;
  wasmtime_module_imports(&module, &imports);
  const size_t imported = imports.size;
  wasm_importtype_vec_delete(&imports);
  if (imported > imports_max)
    return "it has " + std::to_string(imported) + " imports, at most " + std::to_string(imports_max) + " are taken";
  wasm_exporttype_vec_t exports;
  wasmtime_module_exports(&module, &exports);
  const size_t exported = exports.size;
  wasm_exporttype_vec_delete(&exports);
  if (exported > exports_max)
    return "it has " + std::to_string(exported) + " exports, at most " + std::to_string(exports_max) + " are taken";
  return std::nullopt;
}

// "ok <bytes> <sha256>" or "bad <what>", a line break, and the code.
void answer(wasm_engine_t* engine, const uint8_t* wasm, size_t size) {
  std::string fault;
  const WasmModule module = compile(engine, wasm, size, fault);
  if (!module) {
    send_answer("bad " + fault + "\n");
    return;
  }
  if (const auto many = too_many(*module)) {
    send_answer("bad " + *many + "\n");
    return;
  }
  wasm_byte_vec_t code;
  const WasmError error(wasmtime_module_serialize(module.get(), &code));
  if (error) {
    send_answer("bad " + message_of(*error) + "\n");
    return;
  }
  const std::string hash = sha256_hex({reinterpret_cast<const uint8_t*>(code.data), code.size});
  send_answer("ok " + std::to_string(code.size) + " " + hash + "\n");
  send_answer({code.data, code.size});
}

Result<std::string> parse_answer(std::string answer) {
  const auto nonsense = [] { return fail(ErrorCode::io, "its compilation said nothing that can be understood"); };
  const size_t line_end = answer.find('\n');
  if (line_end == std::string::npos) return nonsense();
  const std::string_view line = std::string_view(answer).substr(0, line_end);
  if (line.starts_with("bad ")) return fail(ErrorCode::unsupported, "not accepted: " + std::string(line.substr(4)));
  const size_t space = line.rfind(' ');
  if (!line.starts_with("ok ") || line.size() > head_bytes_max || space < 3) return nonsense();
  uint64_t bytes = 0;
  std::from_chars(line.data() + 3, line.data() + space, bytes);
  const std::string hash(line.substr(space + 1));
  answer.erase(0, line_end + 1);
  if (answer.size() != bytes || sha256_hex({reinterpret_cast<const uint8_t*>(answer.data()), answer.size()}) != hash) return nonsense();
  return answer;
}

// The module as a file without a name that nobody can change any more.
Result<int> sealed(const std::string& wasm) {
  const int file = memfd_create("module", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return fail(ErrorCode::io, std::string("memfd_create: ") + std::strerror(errno));
  std::string_view rest = wasm;
  while (!rest.empty()) {
    const ssize_t written = write(file, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    rest.remove_prefix(static_cast<size_t>(written));
  }
  if (!rest.empty() || fcntl(file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    const int fault = errno;
    close(file);
    return fail(ErrorCode::io, std::string("memfd: ") + std::strerror(fault));
  }
  return file;
}

std::string cause_of_death(const ChildAnswer& child, const ChildTask& task) {
  if (child.end == ChildAnswer::End::killed && (child.signal == SIGKILL || child.signal == SIGXCPU))
    return "used up its " + std::to_string(confinement.cpu_s_max) + " s of CPU time";
  if (child.end == ChildAnswer::End::killed && child.signal == SIGABRT)
    return "used up its " + std::to_string(confinement.memory_bytes_max >> 20) + " MiB of memory";
  return describe(child, task);
}

}  // namespace

int run_compilation_child(int descriptor) {
  struct stat status {};
  if (fstat(descriptor, &status) != 0 || status.st_size <= 0) return child_not_confined;
  const auto bytes = static_cast<size_t>(status.st_size);
  void* mapped = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (mapped == MAP_FAILED) return child_not_confined;
  setenv("RAYON_NUM_THREADS", compile_threads, 1);
  const WasmEngine engine(wasm_engine_new_with_config(make_code_config()));
  std::string fault;
  if (!engine || !compile(engine.get(), warm_up, sizeof warm_up, fault)) return child_not_confined;
  static_cast<void>(sha256_hex(warm_up));  // OpenSSL looks for its settings on first use
  if (!confine(confinement)) return child_not_confined;
  answer(engine.get(), static_cast<const uint8_t*>(mapped), bytes);
  _exit(0);
}

Result<std::string> compile_in_child(const std::filesystem::path& executable, const std::string& wasm) {
  const auto file = sealed(wasm);
  if (!file) return std::unexpected(file.error());
  const Descriptor input{*file};
  const ChildTask task{.executable = executable,
                       .argument = compilation_argument,
                       .input = input.number,
                       .answer_bytes_max = code_bytes_max + head_bytes_max};
  auto child = run_child(task);
  if (!child) return fail(child.error().code, "its compilation failed: " + child.error().message);
  if (child->end == ChildAnswer::End::not_confined) return fail(ErrorCode::io, "its compilation " + describe(*child, task));
  if (child->end != ChildAnswer::End::answered) return fail(ErrorCode::unsupported, "its compilation " + cause_of_death(*child, task));
  return parse_answer(std::move(child->bytes));
}

}  // namespace realm::sandbox
