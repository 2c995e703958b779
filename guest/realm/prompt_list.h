// Prompts as OpenAI's older routes take them: a string, token ids, or a list of either.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "include/realm.hpp"
#include "json.h"

namespace realm {

// One of the two lists is empty.
struct PromptList {
  std::vector<std::string> texts;
  std::vector<std::vector<int32_t>> token_ids;
  size_t size() const { return texts.size() + token_ids.size(); }
};

// Refuses the request when `field` is missing, of another shape, empty, or longer than `count_max`.
PromptList read_prompts(const common_json& body, const char* field, size_t count_max);

// Refuses a request with a token that is not in the model's vocabulary.
void require_known_tokens(const Model& model, const std::vector<int32_t>& tokens, const char* field);

}  // namespace realm
