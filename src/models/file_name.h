// How models and their files are called.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace realm::models {

// 1 to 128 of [A-Za-z0-9._-], which is what a model may be called.
bool is_model_name(std::string_view text);

// A large model may come in parts: NAME-00001-of-00003.gguf and so on.
struct PartName {
  std::string name;
  uint32_t part = 1;   // from 1
  uint32_t parts = 1;  // 1: the file is the whole model
};

// Of a file name without ".gguf".
PartName part_name(std::string_view stem);

// The file name, with ".gguf".
std::string part_file(const PartName& part);

}  // namespace realm::models
