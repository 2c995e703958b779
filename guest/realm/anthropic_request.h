// A Messages request, turned into the chat that templates know: OpenAI's shape.
#pragma once

#include "realm/chat.h"

namespace realm {

// `needs_max_tokens`: as /v1/messages does, and /v1/messages/count_tokens does not. Refuses what cannot be answered.
Chat read_message_request(const common_json& body, bool needs_max_tokens);

}  // namespace realm
