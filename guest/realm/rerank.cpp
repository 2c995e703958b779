// /v1/rerank, in the shape of Jina, Cohere and llama-server: how well does each document answer the query?
#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>

#include "realm/openai.h"
#include "realm/protocol.h"

namespace realm {
namespace {

constexpr size_t documents_max = 2'048;
constexpr size_t ahead_max = 16;  // documents that the host computes at once

struct RerankRequest {
  std::string model;
  std::string query;
  std::vector<std::string> documents;
  uint32_t top_n = documents_max;
  bool return_documents = false;
};

struct Score {
  size_t index;
  float relevance;
};

RerankRequest read_rerank_request(const common_json& body) {
  RerankRequest request;
  refuse_if(read_text(body, "model", request.model));
  if (find(body, "query") == nullptr) refuse(400, "missing_required_parameter", "query: is missing", "query");
  refuse_if(read_text(body, "query", request.query));
  const common_json* documents = find(body, "documents");
  if (documents == nullptr) refuse(400, "missing_required_parameter", "documents: is missing", "documents");
  if (!documents->is_array()) refuse_if(wrong_type("documents", "an array", *documents));
  if (documents->empty() || documents->size() > documents_max) {
    refuse_if(problem("documents: must have 1 to " + std::to_string(documents_max) + " items"));
  }
  for (const common_json& document : *documents) {
    std::string text;
    if (document.is_object()) {
      if (find(document, "text") == nullptr) refuse_if(problem("documents: an object needs the field text"));
      refuse_if(read_text(document, "text", text));
    } else if (document.is_string()) {
      text = document.get<std::string>();
    } else {
      refuse_if(wrong_type("documents", "strings, or objects with the field text", document));
    }
    request.documents.push_back(text);
  }
  refuse_if(read_integer(body, "top_n", 1, INT32_MAX, request.top_n));
  refuse_if(read_bool(body, "return_documents", request.return_documents));
  return request;
}

// What stands between the places of the query and the document in the model's template.
struct Frame {
  std::string before, between, after;
  bool document_first = false;
};

Frame split_template(const std::string& text) {
  constexpr std::string_view query = "{query}";
  constexpr std::string_view document = "{document}";
  const size_t q = text.find(query);
  const size_t d = text.find(document);
  if (q == std::string::npos || d == std::string::npos)
    refuse(500, "model_error", "the model's rerank template names no {query} or {document}");
  const bool document_first = d < q;
  const size_t first = std::min(q, d);
  const size_t first_end = first + (document_first ? document : query).size();
  const size_t second = std::max(q, d);
  const size_t second_end = second + (document_first ? query : document).size();
  return {text.substr(0, first), text.substr(first_end, second - first_end), text.substr(second_end), document_first};
}

// What people wrote is tokenised as plain text, so that no document can speak as the template.
class PairWriter {
 public:
  PairWriter(const Model& model, const std::string& query) : model_(model) {
    const std::string text = model.text(REALM_TEXT_RERANK_TEMPLATE);
    const Frame frame = text.empty() ? Frame{} : split_template(text);
    document_first_ = frame.document_first;
    if (text.empty()) {
      const realm_model_info_t& info = model.info();
      if (info.bos_token >= 0) before_.push_back(info.bos_token);
      if (info.eos_token >= 0) between_ = after_ = {info.eos_token};
    } else {
      before_ = model.tokenize(frame.before, REALM_TOKENIZE_PARSE_SPECIAL);
      between_ = model.tokenize(frame.between, REALM_TOKENIZE_PARSE_SPECIAL);
      after_ = model.tokenize(frame.after, REALM_TOKENIZE_PARSE_SPECIAL);
    }
    query_ = plain(query, "query");
  }
  std::vector<int32_t> tokens(const std::string& document) const {
    const auto text = plain(document, "documents");
    std::vector<int32_t> tokens = before_;
    const auto add = [&tokens](const std::vector<int32_t>& more) { tokens.insert(tokens.end(), more.begin(), more.end()); };
    add(document_first_ ? text : query_);
    add(between_);
    add(document_first_ ? query_ : text);
    add(after_);
    if (tokens.empty()) refuse_if(problem("documents: nothing is left of the query and a document"));
    const uint32_t most = model_.info().context_tokens_max;
    if (tokens.size() <= most) return tokens;
    refuse(400, "context_length_exceeded",
           "documents: the query and a document have " + std::to_string(tokens.size()) + " tokens, and the model takes " +
               std::to_string(most),
           "documents");
  }

 private:
  std::vector<int32_t> plain(const std::string& text, const char* field) const {
    if (text.size() > tokenize_bytes_max) refuse_if(problem(std::string(field) + ": at most 1 MiB of text"));
    return model_.tokenize(text, 0);
  }
  const Model& model_;
  std::vector<int32_t> before_, between_, after_, query_;
  bool document_first_ = false;
};

std::vector<Score> score_all(const Model& model, const RerankRequest& request, size_t& tokens) {
  const PairWriter writer(model, request.query);
  std::vector<Score> scores;
  std::deque<std::unique_ptr<Sequence>> ahead;
  size_t begun = 0;
  while (scores.size() < request.documents.size()) {
    while (begun < request.documents.size() && ahead.size() < ahead_max) {
      const auto pair = writer.tokens(request.documents[begun++]);
      tokens += pair.size();
      ahead.push_back(std::make_unique<Sequence>(model, static_cast<uint32_t>(pair.size()), REALM_SEQUENCE_EMBEDS));
      ahead.back()->append(pair);
    }
    const float score = ahead.front()->embed(model.info().embedding_values)[0];
    scores.push_back({scores.size(), std::isfinite(score) ? score : 0.0F});  // of a broken model; zeros are valid JSON
    ahead.pop_front();
  }
  std::stable_sort(scores.begin(), scores.end(), [](const Score& a, const Score& b) { return a.relevance > b.relevance; });
  scores.resize(std::min<size_t>(scores.size(), request.top_n));
  return scores;
}

}  // namespace

void answer_rerank(const common_json& body) {
  const RerankRequest request = read_rerank_request(body);
  const Model model(request.model);
  if (model.info().ranks == 0) {
    refuse(400, "unsupported_model", "model: '" + model.text(REALM_TEXT_NAME) + "' cannot rank documents; it takes one with a rank head",
           "model");
  }
  size_t tokens = 0;
  common_json results = common_json::array();
  for (const Score& score : score_all(model, request, tokens)) {
    common_json result = common_json::object();
    result["index"] = score.index;
    result["relevance_score"] = static_cast<double>(score.relevance);
    if (request.return_documents) {
      common_json document = common_json::object();
      document["text"] = request.documents[score.index];
      result["document"] = document;
    }
    results.push_back(result);
  }
  common_json usage = common_json::object();
  usage["prompt_tokens"] = tokens;
  usage["total_tokens"] = tokens;
  common_json answer = common_json::object();
  answer["id"] = request_id();
  answer["object"] = "list";
  answer["model"] = model.text(REALM_TEXT_NAME);
  answer["results"] = results;
  answer["usage"] = usage;
  reply(answer);
}

}  // namespace realm
