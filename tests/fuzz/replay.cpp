// Runs every target on its seeds, without a fuzzer: `replay SEEDS`, a folder with one for each target.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "fuzz/fuzz_target.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  for (const auto& target : realm::fuzz::targets()) {
    const auto folder = std::filesystem::path(argv[1]) / target.name;
    size_t count = 0;
    if (std::filesystem::is_directory(folder)) {
      for (const auto& seed : std::filesystem::directory_iterator(folder)) {
        std::ifstream in(seed.path(), std::ios::binary);
        const std::string bytes((std::istreambuf_iterator<char>(in)), {});
        std::printf("%s\n", seed.path().c_str());
        std::fflush(stdout);  // the last one is to be seen when it ends the process
        target.run(bytes);
        ++count;
      }
    }
    if (count == 0) {
      std::fprintf(stderr, "%s has no seeds\n", folder.c_str());
      return 1;
    }
  }
  return 0;
}
