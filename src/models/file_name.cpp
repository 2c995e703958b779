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
  const auto number = [&](size_t group) { return static_cast<uint32_t>(std::stoul(found[group].str())); };
  PartName part{found[1].str(), number(2), number(3)};
  // Part 2 of 1 and part 0 are none: the file is what it is called.
  if (part.parts < 2 || part.part < 1 || part.part > part.parts) return {text, 1, 1};
  return part;
}

std::string part_file(const PartName& part) {
  if (part.parts == 1) return part.name + ".gguf";
  char suffix[32];
  std::snprintf(suffix, sizeof suffix, "-%05u-of-%05u.gguf", part.part, part.parts);
  return part.name + suffix;
}

}  // namespace realm::models
