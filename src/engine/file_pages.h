// The resident pages of mapped model files.
#pragma once

#include <filesystem>

namespace realm::engine {

// Takes the pages of `file`, and of the other parts of a model in several files, out of this process's memory wherever it is mapped. Those
// that are needed come back as they are touched. What was packed into memory of its own while loading would otherwise be resident twice.
void release_file_pages(const std::filesystem::path& file);

}  // namespace realm::engine
