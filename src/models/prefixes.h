// Beginnings of prompts that the operator publishes for a model: every realm that may use it starts from their KV.
//
// They lie as text files in a folder for each model. Who publishes for a model that is not there yet, or not any more, may.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace realm::models {

constexpr uint32_t published_prefixes_max = 16;            // of a model
constexpr uint64_t published_text_bytes_max = 256u << 10;  // of one

struct PublishedPrefix {
  std::string name;
  std::string text;  // as it stands at the beginning of a rendered prompt, control tokens included
};

// Any thread.
class PublishedPrefixes {
 public:
  explicit PublishedPrefixes(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::vector<PublishedPrefix> list(std::string_view model) const;  // by name
  // In place of one of the same name.
  Result<void> put(std::string_view model, const PublishedPrefix& prefix);
  Result<void> remove(std::string_view model, std::string_view name);

 private:
  const std::filesystem::path folder_;
  mutable std::mutex mutex_;
};

}  // namespace realm::models
