// Fields that OpenAI's routes have in common.
#pragma once

#include <cstdint>
#include <vector>

#include "realm/generation.h"
#include "realm/protocol.h"

namespace realm {

constexpr uint32_t copies_max = 8;

struct StreamOptions {
  bool stream = false;
  bool include_usage = false;
};

// OpenAI's defaults: the model's own distribution.
void set_openai_defaults(Request& request);
StreamOptions read_stream(const common_json& body);
uint32_t read_copies(const common_json& body);  // "n"
// Refuses what is asked for and cannot be given.
void refuse_unsupported(const common_json& body);

common_json openai_usage(const Usage& usage);
const char* finish_reason(const Ending& ending, bool called);

// Of one token, for `logprobs`.
common_json logprob_entry(const TokenLogprob& token);

}  // namespace realm
