// The check of a model file before llama.cpp sees it: a file that is not what it claims to be may end the process there.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"

namespace realm::engine {

struct ModelFile {
  uint64_t bytes = 0;          // of all parts together
  bool has_rank_head = false;  // weights that turn a row into scores
};

// Checks that the file, and every part of a model in several files, is there, readable, GGUF, and as long as its own table of
// tensors says. Fails with not_found, permission_denied, invalid_argument (not a regular
// file, not the first part), corrupt or io. Any thread.
Result<ModelFile> check_model_file(const std::filesystem::path& file);

}  // namespace realm::engine
