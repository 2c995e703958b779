#include "engine/file_pages.h"

#include <sys/mman.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <system_error>

namespace realm::engine {
namespace {

// "/models/x-00001-of-00003.gguf" becomes "/models/x-"; a file that is whole stays as it is.
std::string name_of_all_parts(const std::string& file) {
  const size_t mark = file.rfind("-00001-of-");
  return mark == std::string::npos ? file : file.substr(0, mark + 1);
}

}  // namespace

void release_file_pages(const std::filesystem::path& file) {
  std::error_code error;
  const auto canonical = std::filesystem::canonical(file, error);
  if (error) return;
  const std::string wanted = name_of_all_parts(canonical.string());
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    // "7f00-7f10 r--s 00000000 08:01 123   /models/x.gguf"
    const size_t slash = line.find('/');
    if (slash == std::string::npos || !line.substr(slash).starts_with(wanted)) continue;
    uintptr_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR, &begin, &end) != 2 || end <= begin) continue;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
}

}  // namespace realm::engine
