#include "models/file_name.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <regex>

namespace realm::models {

bool is_model_name(std::string_view text) {
  return !text.empty() && text.size() <= 128 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-'; });
}

PartName part_name(std::string_view stem) {
  static const std::regex pattern("(.*)-([0-9]{5})-of-([0-9]{5})");
  const std::string text(stem);
  std::smatch found;
  if (!std::regex_match(text, found, pattern)) return {text, 1, 1};
  return {found[1].str(), static_cast<uint32_t>(std::stoul(found[2].str())), static_cast<uint32_t>(std::stoul(found[3].str()))};
}

std::string part_file(const PartName& part) {
  if (part.parts == 1) return part.name + ".gguf";
  char suffix[32];
  std::snprintf(suffix, sizeof suffix, "-%05u-of-%05u.gguf", part.part, part.parts);
  return part.name + suffix;
}

}  // namespace realm::models
