// Compiled programs on disk, so that only the first start after an upgrade compiles.
//
// Native code is loaded from here without further checks, so the folder must belong to this user and be writable by nobody else;
// otherwise, or when the disk is full, programs are compiled in memory and a warning is logged. The code that was not used for the
// longest time goes when the folder has grown too large.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "sandbox/wasm_types.h"

namespace realm::sandbox {

class CodeCache {
 public:
  // `settings`: everything besides the program that the native code depends on.
  CodeCache(std::filesystem::path folder, std::string settings, uint64_t bytes_max);

  // `key` names a program by its content. Null when it is not there or cannot be loaded. Any thread.
  WasmModule load(wasm_engine_t* engine, std::string_view key) const;
  void store(std::span<const char> code, std::string_view key) const;
  void store(const wasmtime_module_t& module, std::string_view key) const;

 private:
  std::filesystem::path file_of(std::string_view key) const;
  void trim() const;
  std::filesystem::path folder_;
  std::string settings_;
  uint64_t bytes_max_;
  bool usable_ = false;
};

}  // namespace realm::sandbox
