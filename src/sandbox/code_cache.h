// Compiled programs on disk, so that only the first start after an upgrade compiles.
//
// Native code is loaded from here without further checks, so the folder must belong to this user and be writable by nobody else;
// otherwise, or when the disk is full, programs are compiled in memory and a warning is logged.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "sandbox/wasm_types.h"

namespace realm::sandbox {

class CodeCache {
 public:
  // `settings`: everything besides the program that the native code depends on.
  CodeCache(std::filesystem::path folder, std::string settings);

  // Null when it is not there or cannot be loaded. Any thread.
  WasmModule load(wasm_engine_t* engine, std::span<const uint8_t> wasm) const;
  void store(const wasmtime_module_t& module, std::span<const uint8_t> wasm) const;
  bool usable() const noexcept { return usable_; }

 private:
  std::filesystem::path file_of(std::span<const uint8_t> wasm) const;
  std::filesystem::path folder_;
  std::string settings_;
  bool usable_ = false;
};

}  // namespace realm::sandbox
