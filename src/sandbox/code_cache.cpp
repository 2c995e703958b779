#include "sandbox/code_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/log.h"
#include "base/sha256.h"

namespace realm::sandbox {
namespace {

constexpr std::string_view code_suffix = ".cwasm";

// Null, or why the folder may not be trusted.
const char* fault_of(const std::filesystem::path& folder) {
  struct stat status {};
  if (lstat(folder.c_str(), &status) != 0) return std::strerror(errno);
  if (!S_ISDIR(status.st_mode)) return "not a folder";
  if (status.st_uid != geteuid()) return "belongs to another user";
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) return "others may write to it";
  return nullptr;
}

bool write_whole(int file, std::span<const char> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return fsync(file) == 0;
}

}  // namespace

CodeCache::CodeCache(std::filesystem::path folder, std::string settings, uint64_t bytes_max)
    : folder_(std::move(folder)), settings_(std::move(settings)), bytes_max_(bytes_max) {
  if (folder_.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(folder_.parent_path(), error);
  mkdir(folder_.c_str(), 0700);
  const char* fault = fault_of(folder_);
  usable_ = fault == nullptr;
  if (!usable_) log().warn("code cache {}: {}; programs are compiled at every start", folder_.string(), fault);
}

std::filesystem::path CodeCache::file_of(std::string_view key) const {
  Sha256 hash;
  hash.update(settings_);
  hash.update(key);
  return folder_ / (hash.hex() + std::string(code_suffix));
}

WasmModule CodeCache::load(wasm_engine_t* engine, std::string_view key) const {
  if (!usable_) return nullptr;
  const auto file = file_of(key);
  struct stat status {};
  if (lstat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid()) return nullptr;
  wasmtime_module_t* module = nullptr;
  const WasmError error(wasmtime_module_deserialize_file(engine, file.c_str(), &module));
  if (error) {
    log().warn("code cache {}: {}; compiling again", file.string(), message_of(*error));
    return nullptr;
  }
  const timespec times[] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
  utimensat(AT_FDCWD, file.c_str(), times, 0);  // used now, whatever the mount says of access times
  return WasmModule(module);
}

void CodeCache::store(const wasmtime_module_t& module, std::string_view key) const {
  if (!usable_) return;
  wasm_byte_vec_t code;
  const WasmError error(wasmtime_module_serialize(const_cast<wasmtime_module_t*>(&module), &code));
  if (error) return log().warn("code cache: {}", message_of(*error));
  store({code.data, code.size}, key);
  wasm_byte_vec_delete(&code);
}

void CodeCache::store(std::span<const char> code, std::string_view key) const {
  if (!usable_) return;
  const auto file = file_of(key);
  std::string temporary = file.string() + ".XXXXXX";
  const int out = mkstemp(temporary.data());
  bool written = out >= 0 && write_whole(out, code);
  const int fault = errno;
  if (out >= 0) close(out);
  written = written && rename(temporary.c_str(), file.c_str()) == 0;
  if (written) return trim();
  if (out >= 0) unlink(temporary.c_str());
  log().warn("code cache {}: {}; the program runs, but is compiled again at the next start", file.string(), std::strerror(fault));
}

// A file that is mapped may be removed: its pages stay with who uses it.
void CodeCache::trim() const {
  struct Kept {
    int64_t used_ns;
    uint64_t bytes;
    std::filesystem::path file;
  };
  std::vector<Kept> files;
  uint64_t bytes = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    struct stat status {};
    if (entry.path().extension() != code_suffix || lstat(entry.path().c_str(), &status) != 0) continue;
    files.push_back({status.st_atim.tv_sec * 1'000'000'000 + status.st_atim.tv_nsec, static_cast<uint64_t>(status.st_size), entry.path()});
    bytes += files.back().bytes;
  }
  if (bytes <= bytes_max_) return;
  std::sort(files.begin(), files.end(), [](const Kept& a, const Kept& b) { return a.used_ns < b.used_ns; });
  for (size_t i = 0; i + 1 < files.size() && bytes > bytes_max_; ++i) {
    if (std::filesystem::remove(files[i].file, error)) bytes -= files[i].bytes;
  }
}

}  // namespace realm::sandbox
