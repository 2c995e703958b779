// Anthropic's protocol: https://docs.anthropic.com/en/api/messages, as its official clients read it.
#pragma once

#include "json.h"

namespace realm {

void answer_message(const common_json& body);       // POST /v1/messages
void answer_count_tokens(const common_json& body);  // POST /v1/messages/count_tokens

}  // namespace realm
