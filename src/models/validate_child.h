// check_gguf in a process of its own: whatever a file does to it, it does it there.
//
// The child (base/confined_child.h) has 20 s of CPU time and 2 GiB of memory beside the mapped file.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "models/gguf_check.h"

namespace realm::models {

// The argument that makes an executable become the child; the descriptor of the file follows as a number.
constexpr const char* validation_argument = "validate-gguf";

// Runs `executable` (the product: /proc/self/exe) as the child on a file. The fault, or what became of the child, is corrupt; other
// errors are the file's or the system's. Blocks. Any thread.
Result<GgufSummary> validate_in_child(const std::filesystem::path& executable, const std::filesystem::path& file);

// The child's side: the whole of its main(). Returns its exit code.
int run_validation_child(int descriptor);

}  // namespace realm::models
