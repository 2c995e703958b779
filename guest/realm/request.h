// The request as realm.wasm understands it: a JSON object on the outside, this struct on the inside.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json.h"
#include "realm/answer_shape.h"
#include "realm/json_fields.h"

namespace realm {

constexpr uint32_t stops_max = 16;
constexpr uint32_t stop_bytes_max = 256;
constexpr uint32_t messages_max = 4'096;
constexpr int32_t top_logprobs_max = 20;
constexpr uint32_t logit_biases_max = 1'024;

struct Request {
  std::string model;                  // empty: the host's default
  std::optional<std::string> prompt;  // raw text; otherwise `messages` go through the chat template
  common_json messages;               // [{role, content, ...}], content a string or text parts
  common_json tools;                  // handed to the template as it is; null when absent
  common_json template_arguments;     // chat_template_kwargs; null when absent
  std::string prefill;                // how the answer to `messages` begins; the model goes on from there
  uint32_t max_tokens = 0;            // 0: until the context is full
  float temperature = 0.8f;
  int32_t top_k = 40;
  float top_p = 0.95f;
  float min_p = 0.05f;
  float typical_p = 1;
  float repeat_penalty = 1;
  int32_t repeat_last_n = 64;
  float frequency_penalty = 0;
  float presence_penalty = 0;
  std::optional<uint64_t> seed;  // absent: a random one
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::vector<std::string> stop;
  bool ignore_eos = false;
  AnswerShape shape;
  int32_t top_logprobs = -1;   // so many alternatives of each token are told; -1: no log-probabilities at all
  bool shows_special = false;  // the text of control tokens belongs to the answer: tool calls begin with some
};

// Read the fields of an object into the request; unknown ones are ignored. read_options leaves out what is asked: prompt, messages.
Problem read_options(const common_json& object, Request& request);
Problem read_messages(const common_json& object, Request& request);
Problem read_request(const common_json& object, Request& request);

// Empty when `text` was understood.
Problem parse_request(const std::string& text, Request& request);

}  // namespace realm
