#include "models/file_hash.h"

#include <fstream>
#include <vector>

#include "base/sha256.h"

namespace realm::models {
namespace {

constexpr size_t read_bytes = 1u << 20;

}  // namespace

Result<std::string> hash_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  Sha256 hash;
  std::vector<char> buffer(read_bytes);
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || in.gcount() > 0) {
    hash.update(std::string_view(buffer.data(), static_cast<size_t>(in.gcount())));
  }
  if (!in.eof()) return fail(ErrorCode::io, "model file " + file.string() + ": cannot be read");
  return hash.hex();
}

}  // namespace realm::models
