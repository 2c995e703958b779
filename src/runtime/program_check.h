// Is a module a program of Realm? For whatever may become one: realm.wasm, what realms upload, `realm programs check`.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/program.h"

namespace realm::runtime {

// The ABI version that it states, `handle`, its memory. The message is for a person who has the module's name already.
Result<void> check_program(const sandbox::ModuleShape& shape);

struct ProgramReport {
  sandbox::ModuleShape shape;         // empty when it could not be compiled
  std::vector<std::string> problems;  // none: a server takes it
};

// What a server would say of a module, without one. `code_cache` as in SandboxOptions. The error is the system's.
Result<ProgramReport> inspect_program(const std::string& wasm, const std::filesystem::path& code_cache);

}  // namespace realm::runtime
