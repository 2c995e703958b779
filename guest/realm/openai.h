// OpenAI's protocol: https://platform.openai.com/docs/api-reference, as its official clients read it.
#pragma once

#include "json.h"

namespace realm {

struct Chat;

// The fields of a chat completion. Refuses what cannot be answered.
Chat read_chat(const common_json& body);

void answer_chat_completion(const common_json& body);  // POST /v1/chat/completions
void answer_completion(const common_json& body);       // POST /v1/completions
void answer_response(const common_json& body);         // POST /v1/responses
void answer_embeddings(const common_json& body);       // POST /v1/embeddings
void answer_rerank(const common_json& body);           // POST /v1/rerank: not OpenAI's, but errors have its shape
void answer_tokenize(const common_json& body);         // POST /tokenize
void answer_detokenize(const common_json& body);       // POST /detokenize

}  // namespace realm
