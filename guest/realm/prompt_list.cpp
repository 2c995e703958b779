#include "realm/prompt_list.h"

#include "realm/protocol.h"

namespace realm {
namespace {

std::vector<int32_t> token_ids(const common_json& list, const std::string& field) {
  std::vector<int32_t> tokens;
  for (const common_json& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX)
      refuse_if(problem(field + ": a token id is out of range"));
    tokens.push_back(static_cast<int32_t>(id.get<int64_t>()));
  }
  return tokens;
}

}  // namespace

PromptList read_prompts(const common_json& body, const char* field, size_t count_max) {
  const char* shape = "a string, a list of strings, a list of token ids or a list of such lists";
  const common_json* value = find(body, field);
  if (value == nullptr) refuse(400, "missing_required_parameter", std::string(field) + ": is missing", field);
  PromptList prompts;
  if (value->is_string()) {
    prompts.texts.push_back(value->get<std::string>());
  } else if (!value->is_array()) {
    refuse_if(wrong_type(field, shape, *value));
  } else if (!value->empty() && value->at(0).is_number()) {
    prompts.token_ids.push_back(token_ids(*value, field));
  } else {
    for (const common_json& one : *value) {
      if (one.is_string() && prompts.token_ids.empty()) {
        prompts.texts.push_back(one.get<std::string>());
      } else if (one.is_array() && prompts.texts.empty()) {
        prompts.token_ids.push_back(token_ids(one, field));
      } else {
        refuse_if(wrong_type(field, shape, one));
      }
    }
  }
  const bool in_range = prompts.size() > 0 && prompts.size() <= count_max;
  if (!in_range) refuse_if(problem(std::string(field) + ": 1 to " + std::to_string(count_max) + " of them"));
  return prompts;
}

void require_known_tokens(const Model& model, const std::vector<int32_t>& tokens, const char* field) {
  for (const int32_t token : tokens) {
    if (static_cast<uint32_t>(token) >= model.info().vocabulary_tokens)
      refuse_if(problem(std::string(field) + ": a token id is not in the model's vocabulary"));
  }
}

}  // namespace realm
