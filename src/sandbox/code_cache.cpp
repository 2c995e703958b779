#include "sandbox/code_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "base/sha256.h"

namespace realm::sandbox {
namespace {

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

CodeCache::CodeCache(std::filesystem::path folder, std::string settings) : folder_(std::move(folder)), settings_(std::move(settings)) {
  if (folder_.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(folder_.parent_path(), error);
  mkdir(folder_.c_str(), 0700);
  const char* fault = fault_of(folder_);
  usable_ = fault == nullptr;
  if (!usable_) log().warn("code cache {}: {}; programs are compiled at every start", folder_.string(), fault);
}

std::filesystem::path CodeCache::file_of(std::span<const uint8_t> wasm) const {
  Sha256 hash;
  hash.update(settings_);
  hash.update(wasm);
  return folder_ / (hash.hex() + ".cwasm");
}

WasmModule CodeCache::load(wasm_engine_t* engine, std::span<const uint8_t> wasm) const {
  if (!usable_) return nullptr;
  const auto file = file_of(wasm);
  struct stat status {};
  if (lstat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid()) return nullptr;
  wasmtime_module_t* module = nullptr;
  const WasmError error(wasmtime_module_deserialize_file(engine, file.c_str(), &module));
  if (error) {
    log().warn("code cache {}: {}; compiling again", file.string(), message_of(*error));
    return nullptr;
  }
  return WasmModule(module);
}

void CodeCache::store(const wasmtime_module_t& module, std::span<const uint8_t> wasm) const {
  if (!usable_) return;
  wasm_byte_vec_t code;
  const WasmError error(wasmtime_module_serialize(const_cast<wasmtime_module_t*>(&module), &code));
  if (error) return log().warn("code cache: {}", message_of(*error));
  const auto file = file_of(wasm);
  std::string temporary = file.string() + ".XXXXXX";
  const int out = mkstemp(temporary.data());
  bool written = out >= 0 && write_whole(out, {code.data, code.size});
  const int fault = errno;
  if (out >= 0) close(out);
  wasm_byte_vec_delete(&code);
  written = written && rename(temporary.c_str(), file.c_str()) == 0;
  if (written) return;
  if (out >= 0) unlink(temporary.c_str());
  log().warn("code cache {}: {}; the program runs, but is compiled again at the next start", file.string(), std::strerror(fault));
}

}  // namespace realm::sandbox
