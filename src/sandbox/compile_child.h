// WebAssembly of strangers becomes native code in a process of its own: whatever a module does to the compiler, it does it there.
//
// The child (base/confined_child.h) has 10 s of CPU time and 1 GiB of memory. It gives the code back with its length and SHA-256, so that
// what arrived is all that was sent. Only a child of this process is listened to; there is no way to bring native code from outside.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/result.h"

namespace realm::sandbox {

// The argument that makes an executable become the child; the descriptor of the module follows as a number.
constexpr const char* compilation_argument = "compile-program";

// Bounds of a module beside the child's own.
constexpr size_t imports_max = 1'000;
constexpr size_t exports_max = 1'000;
constexpr size_t code_bytes_max = 128u << 20;

// Runs `executable` (the product: /proc/self/exe) as the child. The module's fault, or what it did to the child, is corrupt or
// unsupported; other errors are the system's. Blocks. Any thread.
Result<std::string> compile_in_child(const std::filesystem::path& executable, const std::string& wasm);

// The child's side: the whole of its main(). Returns its exit code.
int run_compilation_child(int descriptor);

}  // namespace realm::sandbox
