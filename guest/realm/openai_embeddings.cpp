// /v1/embeddings: each input becomes a vector of length 1.
#include <algorithm>
#include <base64.hpp>
#include <cmath>
#include <cstdio>
#include <deque>
#include <memory>

#include "realm/openai.h"
#include "realm/prompt_list.h"
#include "realm/protocol.h"

namespace realm {
namespace {

constexpr size_t inputs_max = 2'048;       // OpenAI's
constexpr size_t values_max = 4u << 20;    // of all vectors together: the answer is made of them in memory
constexpr size_t ahead_max = 16;           // inputs that the host computes at once
constexpr size_t piece_bytes = 64u << 10;  // of the body

struct EmbeddingRequest {
  std::string model;
  PromptList inputs;
  bool as_base64 = false;
  uint32_t dimensions = 0;  // 0: all
};

EmbeddingRequest read_embedding_request(const common_json& body) {
  EmbeddingRequest request;
  refuse_if(read_text(body, "model", request.model));
  request.inputs = read_prompts(body, "input", inputs_max);
  for (const std::string& text : request.inputs.texts) {
    if (text.empty()) refuse_if(problem("input: must not be an empty string"));
  }
  std::string format = "float";
  refuse_if(read_text(body, "encoding_format", format));
  if (format != "float" && format != "base64") refuse_if(problem("encoding_format: must be float or base64"));
  request.as_base64 = format == "base64";
  refuse_if(read_integer(body, "dimensions", 1, 1 << 20, request.dimensions));
  return request;
}

std::vector<std::vector<int32_t>> tokens_of(const Model& model, const EmbeddingRequest& request) {
  std::vector<std::vector<int32_t>> inputs = request.inputs.token_ids;
  for (const std::string& text : request.inputs.texts) {
    if (text.size() > tokenize_bytes_max) refuse_if(problem("input: at most 1 MiB of text"));
    inputs.push_back(model.tokenize(text, REALM_TOKENIZE_ADD_SPECIAL));
  }
  const uint32_t most = model.info().context_tokens_max;
  for (const std::vector<int32_t>& tokens : inputs) {
    require_known_tokens(model, tokens, "input");
    if (tokens.empty()) refuse_if(problem("input: has no tokens"));
    if (tokens.size() <= most) continue;
    refuse(400, "context_length_exceeded",
           "input: has " + std::to_string(tokens.size()) + " tokens, and the model takes " + std::to_string(most), "input");
  }
  return inputs;
}

// To length 1, after a cut to the first dimensions.
void normalize(std::vector<float>& values, uint32_t dimensions) {
  if (dimensions > 0) values.resize(dimensions);
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  if (!(sum > 0) || !std::isfinite(sum)) {  // a broken model; zeros are valid JSON
    std::fill(values.begin(), values.end(), 0.0F);
    return;
  }
  for (float& value : values) value = static_cast<float>(value / std::sqrt(sum));
}

std::vector<std::vector<float>> embed_all(const Model& model, const std::vector<std::vector<int32_t>>& inputs, uint32_t dimensions) {
  std::vector<std::vector<float>> vectors;
  std::deque<std::unique_ptr<Sequence>> ahead;
  size_t begun = 0;
  while (vectors.size() < inputs.size()) {
    while (begun < inputs.size() && ahead.size() < ahead_max) {
      ahead.push_back(std::make_unique<Sequence>(model, static_cast<uint32_t>(inputs[begun].size()), REALM_SEQUENCE_EMBEDS));
      ahead.back()->append(inputs[begun++]);
    }
    vectors.push_back(ahead.front()->embed(model.info().embedding_values));
    ahead.pop_front();
    normalize(vectors.back(), dimensions);
  }
  return vectors;
}

std::string encoded(const std::vector<float>& values, bool as_base64) {
  if (as_base64) {  // little endian, as WebAssembly is
    const auto* bytes = reinterpret_cast<const char*>(values.data());
    std::string text = "\"";
    base64::encode(bytes, bytes + values.size() * sizeof(float), std::back_inserter(text));
    return text + "\"";
  }
  std::string text = "[";
  char number[32];
  for (const float value : values) {
    std::snprintf(number, sizeof number, "%s%.8g", text.size() > 1 ? "," : "", static_cast<double>(value));
    text += number;
  }
  return text + "]";
}

// In pieces: a tree of all numbers would not fit the instance's memory.
void send_body(const std::string& model, const std::vector<std::vector<float>>& vectors, bool as_base64, size_t tokens) {
  require(realm_respond(200, REALM_CONTENT_JSON), "respond");
  std::string piece = "{\"object\":\"list\",\"data\":[";
  for (size_t i = 0; i < vectors.size(); ++i) {
    piece += std::string(i > 0 ? "," : "") + "{\"object\":\"embedding\",\"index\":" + std::to_string(i) + ",\"embedding\":";
    piece += encoded(vectors[i], as_base64) + "}";
    if (piece.size() < piece_bytes) continue;
    emit(REALM_EMIT_BODY, piece);
    piece.clear();
  }
  const std::string count = std::to_string(tokens);
  piece += "],\"model\":" + common_json(model).dump() + ",\"usage\":{\"prompt_tokens\":" + count + ",\"total_tokens\":" + count + "}}";
  emit(REALM_EMIT_BODY, piece);
}

}  // namespace

void answer_embeddings(const common_json& body) {
  const EmbeddingRequest request = read_embedding_request(body);
  const Model model(request.model);
  if (model.info().ranks != 0) {
    refuse(400, "unsupported_model", "model: '" + model.text(REALM_TEXT_NAME) + "' ranks documents and gives no embeddings", "model");
  }
  const uint32_t values = model.info().embedding_values;
  if (request.dimensions > values) {
    refuse(400, "invalid_value", "dimensions: the model's vectors have " + std::to_string(values), "dimensions");
  }
  const auto inputs = tokens_of(model, request);
  if (inputs.size() * values > values_max) {
    refuse(400, "invalid_value", "input: at most " + std::to_string(values_max / values) + " inputs for a model with so many dimensions",
           "input");
  }
  size_t tokens = 0;
  for (const auto& input : inputs) tokens += input.size();
  const auto vectors = embed_all(model, inputs, request.dimensions);
  send_body(model.text(REALM_TEXT_NAME), vectors, request.as_base64, tokens);
}

}  // namespace realm
