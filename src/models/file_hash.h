// SHA-256 of a whole file.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"

namespace realm::models {

// 64 lower-case hexadecimal digits. Fails with io. Reads the file once; blocks.
Result<std::string> hash_of(const std::filesystem::path& file);

}  // namespace realm::models
