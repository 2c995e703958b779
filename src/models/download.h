// One file over HTTPS into a folder, resumed where an earlier attempt ended.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/result.h"

namespace realm::models {

constexpr uint32_t download_attempts_max = 5;  // in a row without a byte gained
constexpr uint32_t download_connect_timeout_ms = 30'000;
constexpr uint32_t download_stall_timeout_s = 60;  // without a byte
constexpr uint64_t download_bytes_max = 2ull << 40;
constexpr uint32_t download_redirects_max = 8;

// `total` is 0 as long as it is not known. False gives the download up.
using Progress = std::function<bool(uint64_t done, uint64_t total)>;

struct DownloadOptions {
  bool allow_private = false;     // addresses of private networks and of this machine too
  std::string bearer_token = {};  // sent to the URL's own host, never to where it redirects
  Progress progress = {};
};

struct Downloaded {
  uint64_t bytes = 0;
  std::string sha256_stated;  // what the server says that the content's SHA-256 is (X-Linked-ETag); empty: nothing
};

// Writes `file`.part first and renames it at the end. An earlier .part is continued when the server says by its ETag that the content is
// still the same. Fails with invalid_argument (URL), not_found, permission_denied (private address, 401, 403), resource_exhausted (disk),
// cancelled, unavailable (network; what was received stays) or io. Blocks. Any thread, one at a time for a file.
Result<Downloaded> download(const std::string& url, const std::filesystem::path& file, const DownloadOptions& options);

}  // namespace realm::models
