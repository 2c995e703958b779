#include "runtime/program_check.h"

#include <algorithm>
#include <string_view>

#include "abi/realm_abi.h"
#include "base/sha256.h"
#include "runtime/generation.h"
#include "sandbox/sandbox.h"

namespace realm::runtime {
namespace {

#define REALM_TEXT_OF(name) REALM_TEXT_OF_(name)
#define REALM_TEXT_OF_(name) #name
constexpr std::string_view abi_marker = REALM_TEXT_OF(REALM_ABI_MARKER);
constexpr std::string_view abi_marker_stem = "realm_abi_v";

std::unexpected<Error> bad(std::string message) { return fail(ErrorCode::unsupported, std::move(message)); }

// A program states the ABI version it was built for by exporting a function of that name.
Result<void> check_abi_version(const sandbox::ModuleShape& shape) {
  for (const std::string& name : shape.exported_functions) {
    if (name == abi_marker) return {};
    if (name.starts_with(abi_marker_stem)) {
      return bad("built for program ABI version " + name.substr(abi_marker_stem.size(), 8) + ", this realm-runtime has version " +
                 std::to_string(REALM_ABI_VERSION) + "; build it for that, or use the realm.wasm that came with it");
    }
  }
  return bad("not a Realm program (it does not export " + std::string(abi_marker) + ")");
}

}  // namespace

Result<void> check_program(const sandbox::ModuleShape& shape) {
  if (auto version = check_abi_version(shape); !version) return version;
  const auto& functions = shape.exported_functions;
  if (std::find(functions.begin(), functions.end(), "handle") == functions.end()) return bad("does not export the function handle");
  if (!shape.exports_memory) return bad("does not export its memory as memory");
  return {};
}

Result<ProgramReport> inspect_program(const std::string& wasm, const std::filesystem::path& code_cache) {
  auto sandbox = sandbox::Sandbox::create({.instances_max = 1, .workers = 1, .code_cache = code_cache}, program_abi_functions());
  if (!sandbox) return fail(std::move(sandbox));
  ProgramReport report;
  const std::string key = sha256_hex({reinterpret_cast<const uint8_t*>(wasm.data()), wasm.size()});
  const auto program = (*sandbox)->load_confined({.key = key, .read = [&wasm] { return wasm; }}, {}, &report.shape);
  if (!program) {
    const Error& error = program.error();
    if (error.code != ErrorCode::corrupt && error.code != ErrorCode::unsupported) return std::unexpected(error);
    report.problems.push_back(error.message);
  }
  if (program || report.shape.code_bytes > 0) {
    if (auto valid = check_program(report.shape); !valid) report.problems.push_back(valid.error().message);
  }
  return report;
}

}  // namespace realm::runtime
