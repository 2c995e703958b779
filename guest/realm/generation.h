// From prompts to answers: sequences in the shared batch, text out of their tokens, endings.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "include/realm.hpp"
#include "realm/request.h"

namespace realm {

struct Ending {
  bool stopped = false;           // else the answer was cut: max_tokens, or the context is full
  std::string stop_found;         // the stop string that ended it; empty: the model did, or it was cut
  uint32_t tokens = 0;            // sampled, the end token included
  uint32_t reasoning_tokens = 0;  // of them
};

// What answers cost, over all choices. Times are of the slowest one.
struct Usage {
  uint32_t prompt_tokens = 0;  // each different prompt once
  uint32_t cached_tokens = 0;
  uint32_t completion_tokens = 0;
  uint32_t reasoning_tokens = 0;  // of them
  double queue_ms = 0;
  double prefill_ms = 0;
  double decode_ms = 0;
};

// A drawn token, for clients that ask for log-probabilities: natural logarithms over the raw logits.
struct TokenLogprob {
  std::string text;  // may be part of a character
  float logprob = 0;
  std::vector<std::pair<std::string, float>> top;  // the likeliest at its place, likeliest first
};

// Gets the answers as they come. Choices are numbered from 0.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  // Whole UTF-8 characters.
  virtual void on_text(uint32_t choice, const std::string& text) = 0;
  virtual void on_end(uint32_t, const Ending&) {}
  // Before the text that the token adds to; only when the request asks for log-probabilities.
  virtual void on_token(uint32_t, const TokenLogprob&) {}
  // What comes next is no part of the answer's text.
  virtual bool is_reasoning(uint32_t) const { return false; }
  // Nothing more is wanted of this answer.
  virtual bool is_satisfied(uint32_t) const { return false; }
};

// The request's prompt, or its messages as the model's chat template renders them.
std::string prompt_text(const Model& model, const Request& request);

// As tokens. Ends the instance when there is no room for an answer. `field` is where the text comes from, for messages about it.
std::vector<int32_t> text_tokens(const Model& model, const std::string& text, const std::string& field);

// Both, with the beginning of the answer that the request gives.
std::vector<int32_t> prompt_tokens(const Model& model, const Request& request);

// The same check for tokens that came as they are.
void require_room(const Model& model, const std::vector<int32_t>& tokens, const std::string& field);

// Of each token of a prompt after those before it; of the first the text alone. A step of the batch for each token.
std::vector<TokenLogprob> prompt_logprobs(const Model& model, const std::vector<int32_t>& prompt, uint32_t alternatives);

// `copies` answers to each prompt, all in the batch at once; choice = prompt * copies + copy.
Usage generate_answers(const Model& model, const Request& request, const std::vector<std::vector<int32_t>>& prompts, uint32_t copies,
                       AnswerSink& sink);

// One answer. Returns the summary of a native request, JSON.
std::string generate_answer(const Request& request, AnswerSink& sink);

}  // namespace realm
