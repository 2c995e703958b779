// A classifier: which of the given labels fits each text? It generates nothing: one step of the batch for all texts gives the
// logits of the labels. The examples before the texts are computed once, and once only in the life of the realm when they are
// given a name.
//
//   {"texts": ["..."], "labels": ["positive", "negative"], "examples": [{"text": "...", "label": "..."}], "instruction": "..."}
//   {"results": [{"label": "positive", "probabilities": [0.9, 0.1]}]}
#include <algorithm>
#include <cmath>

#include "realm_json.hpp"

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

namespace {

std::string shown(const std::string& text, const std::string& label) { return "Text: " + text + "\nLabel:" + label; }

// The tokens by which the labels are told apart: what each begins with.
std::vector<int32_t> first_tokens(const realm::Model& model, const std::vector<std::string>& labels) {
  std::vector<int32_t> tokens;
  for (const std::string& label : labels) {
    const auto all = model.tokenize(" " + label, 0);
    if (all.empty()) realm::fail(REALM_FAIL_BAD_REQUEST, "labels: one is empty");
    if (std::find(tokens.begin(), tokens.end(), all[0]) != tokens.end()) {
      realm::fail(REALM_FAIL_BAD_REQUEST, "labels: two begin with the same token, one is '" + label + "'");
    }
    tokens.push_back(all[0]);
  }
  return tokens;
}

std::vector<double> probabilities(const realm::Sequence& sequence, const std::vector<int32_t>& tokens) {
  std::vector<double> shares;
  double sum = 0;
  for (const int32_t token : tokens) sum += shares.emplace_back(std::exp(sequence.logprob(sequence.length() - 1, token)));
  for (double& share : shares) share /= sum;
  return shares;
}

}  // namespace

REALM_EXPORT("handle") int32_t handle() {
  const auto request = realm::json::parse(realm::read_request());
  const realm::Model model(request.text("model", ""));
  const auto labels = request.texts("labels");
  const auto tokens = first_tokens(model, labels);
  std::string before = request.text("instruction", "");
  if (request.find("examples") != nullptr) {
    for (const auto& example : request.list("examples").items) {
      before += shown(example.text("text"), " " + example.text("label")) + "\n\n";
    }
  }
  const auto prefix = model.tokenize(before, REALM_TOKENIZE_ADD_SPECIAL);

  std::vector<realm::Sequence> sequences;
  uint32_t longest = 0;
  std::vector<std::vector<int32_t>> texts;
  for (const std::string& text : request.texts("texts")) {
    texts.push_back(model.tokenize(shown(text, ""), prefix.empty() ? REALM_TOKENIZE_ADD_SPECIAL : 0));
    longest = std::max(longest, static_cast<uint32_t>(texts.back().size()));
  }
  realm::Sequence examples(model, static_cast<uint32_t>(prefix.size()) + longest + 1);
  examples.append(prefix);
  auto params = realm::greedy(REALM_SAMPLER_JUDGED);
  params.new_tokens_max = 1;
  examples.sampler(params);
  for (const auto& text : texts) {
    sequences.push_back(examples.fork());
    sequences.back().append(text);
  }
  realm::next_of_each(sequences, [](realm::Sequence& sequence) -> realm::Sequence& { return sequence; });

  const auto results = realm::json::list(sequences, [&](const realm::Sequence& sequence) {
    const auto shares = probabilities(sequence, tokens);
    const auto best = realm::index_of_best(shares, [](double share) { return share; });
    const auto all = realm::json::list(shares, [](double share) { return std::to_string(share); });
    return realm::json::Object().text("label", labels[best]).raw("probabilities", all).str();
  });
  realm::json::answer(realm::json::Object().raw("results", results));
  return 0;
}
