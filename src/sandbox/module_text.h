// Modules of tests, written as text.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace realm::sandbox {

// WebAssembly text to bytes, by wabt's wat2wasm.
inline std::vector<uint8_t> compile(const std::string& text) {
  char source[] = "/tmp/realm-test-XXXXXX";
  const int file = mkstemp(source);
  EXPECT_EQ(write(file, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  close(file);
  const std::string target = std::string(source) + ".wasm";
  const std::string command = std::string("wat2wasm --enable-all ") + source + " -o " + target;
  EXPECT_EQ(std::system(command.c_str()), 0) << text;
  std::ifstream in(target, std::ios::binary);
  std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(in)), {});
  unlink(source);
  unlink(target.c_str());
  return bytes;
}

}  // namespace realm::sandbox
