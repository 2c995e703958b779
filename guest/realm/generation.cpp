#include "realm/generation.h"

#include <algorithm>

#include "include/realm.hpp"
#include "realm/chat_template.h"
#include "realm/stop_matcher.h"
#include "realm/token_source.h"
#include "realm/utf8_assembler.h"

namespace realm {
namespace {

constexpr uint32_t tokens_per_call = 16;
constexpr float never = -1e9f;  // a bias that keeps a token from being drawn

// The field of the request that the prompt came from, for messages about it.
std::string prompt_field(const Request& request) { return request.prompt ? "prompt" : "messages"; }

std::string prompt_text(const Model& model, const Request& request) {
  if (request.prompt) return *request.prompt;
  TemplateInput input;
  if (request.tools.is_array()) input.source = model.text(REALM_TEXT_CHAT_TEMPLATE_TOOLS);
  if (input.source.empty()) input.source = model.text(REALM_TEXT_CHAT_TEMPLATE);
  input.messages = request.messages;
  input.tools = request.tools;
  input.arguments = request.template_arguments;
  input.bos_token = model.token_text(model.info().bos_token);
  input.eos_token = model.token_text(model.info().eos_token);
  std::string text = render_template(input);
  // The tokenizer adds these itself; a template that writes them too must not make two.
  if (model.info().adds_bos && !input.bos_token.empty() && text.starts_with(input.bos_token)) text.erase(0, input.bos_token.size());
  if (model.info().adds_eos && !input.eos_token.empty() && text.ends_with(input.eos_token)) {
    text.resize(text.size() - input.eos_token.size());
  }
  return text;
}

// At least one token, and room for at least one more in the context.
std::vector<int32_t> prompt_tokens(const Model& model, const Request& request) {
  const std::string text = prompt_text(model, request);
  if (text.size() > tokenize_bytes_max) {
    fail(REALM_FAIL_BAD_REQUEST, prompt_field(request) + ": the prompt has " + std::to_string(text.size()) + " bytes, and at most " +
                                     std::to_string(tokenize_bytes_max) + " are taken");
  }
  std::vector<int32_t> tokens = model.tokenize(text, REALM_TOKENIZE_ADD_SPECIAL | REALM_TOKENIZE_PARSE_SPECIAL);
  const uint32_t context = model.info().context_tokens_max;
  if (tokens.empty()) fail(REALM_FAIL_BAD_REQUEST, prompt_field(request) + ": the prompt has no tokens");
  if (tokens.size() >= context) {
    fail(REALM_FAIL_CONTEXT_EXCEEDED, prompt_field(request) + ": the prompt has " + std::to_string(tokens.size()) +
                                          " tokens, and the context of " + std::to_string(context) + " must hold it and at least one more");
  }
  return tokens;
}

uint64_t random_seed() {
  uint64_t seed = 0;
  require(realm_random(reinterpret_cast<uint8_t*>(&seed), sizeof seed), "random");
  return seed;
}

void set_sampler(Sequence& sequence, const Model& model, const Request& request, bool judged) {
  std::vector<int32_t> tokens;
  std::vector<float> biases;
  for (const auto& [token, bias] : request.logit_bias) {
    if (static_cast<uint32_t>(token) >= model.info().vocabulary_tokens) {
      fail(REALM_FAIL_BAD_REQUEST, "logit_bias: token " + std::to_string(token) + " is not in the model's vocabulary");
    }
    tokens.push_back(token);
    biases.push_back(bias);
  }
  if (request.ignore_eos) {
    for (const int32_t token : {model.info().eos_token, model.info().eot_token}) {
      if (token < 0 || tokens.size() >= logit_biases_max) continue;
      tokens.push_back(token);
      biases.push_back(never);
    }
  }
  const realm_sampler_params_t params = {
      request.temperature,
      request.top_k,
      request.top_p,
      request.min_p,
      request.typical_p,
      request.repeat_penalty,
      request.frequency_penalty,
      request.presence_penalty,
      request.repeat_last_n,
      (request.ignore_eos ? 0u : uint32_t{REALM_SAMPLER_STOP_AT_END}) | (judged ? uint32_t{REALM_SAMPLER_JUDGED} : 0u),
      request.seed ? *request.seed : random_seed(),
      request.max_tokens,
      0};
  sequence.sampler(params, tokens, biases);
}

// Everything between a sampled token and the text that may be shown.
class Output {
 public:
  Output(const Model& model, const Request& request, AnswerSink& sink) : model_(model), stops_(request.stop), sink_(sink) {}

  // True when a stop string ends the answer.
  bool add(const int32_t* tokens, uint32_t count) {
    bytes_.clear();
    whole_.clear();
    shown_.clear();
    model_.append_text(tokens, count, 0, bytes_);
    utf8_.add(bytes_, whole_);
    const bool stopped = stops_.add(whole_, shown_);
    if (!shown_.empty()) sink_.on_text(shown_);
    return stopped;
  }

  void finish() {
    whole_.clear();
    shown_.clear();
    utf8_.flush(whole_);
    if (!stops_.add(whole_, shown_)) stops_.flush(shown_);
    if (!shown_.empty()) sink_.on_text(shown_);
  }

  const std::string& stop_found() const { return stops_.found(); }

 private:
  const Model& model_;
  Utf8Assembler utf8_;
  StopMatcher stops_;
  AnswerSink& sink_;
  std::string bytes_, whole_, shown_;
};

struct Ending {
  const char* reason = "length";
  uint32_t tokens = 0;  // sampled, the end token included
};

Ending decode(TokenSource& source, const Model& model, const Request& request, Output& output) {
  Ending ending;
  int32_t tokens[tokens_per_call];
  while (request.max_tokens == 0 || ending.tokens < request.max_tokens) {
    const uint32_t room = request.max_tokens == 0 ? tokens_per_call : std::min(tokens_per_call, request.max_tokens - ending.tokens);
    const uint32_t count = source.next(tokens, room);
    if (count == 0) break;
    for (uint32_t i = 0; i < count; ++i) {
      ++ending.tokens;
      if ((!request.ignore_eos && model.ends_generation(tokens[i])) || output.add(&tokens[i], 1)) {
        ending.reason = "stop";
        return ending;
      }
    }
  }
  if (source.is_whole()) ending.reason = "stop";
  return ending;
}

}  // namespace

std::string generate_answer(const Request& request, AnswerSink& sink) {
  std::string problem;
  const std::unique_ptr<Constraint> constraint = make_constraint(request.shape, problem);
  if (!problem.empty()) fail(REALM_FAIL_BAD_REQUEST, problem);
  const Model model(request.model);
  const std::vector<int32_t> prompt = prompt_tokens(model, request);
  const uint32_t context = model.info().context_tokens_max;
  const auto room = context - static_cast<uint32_t>(prompt.size());
  Sequence sequence(
      model, request.max_tokens > 0 && request.max_tokens < room ? static_cast<uint32_t>(prompt.size()) + request.max_tokens : context);
  sequence.append(prompt);
  set_sampler(sequence, model, request, constraint != nullptr);
  Output output(model, request, sink);
  TokenSource source(sequence, model, constraint.get());
  const Ending ending = decode(source, model, request, output);
  if (output.stop_found().empty()) output.finish();

  common_json summary = common_json::object();
  summary["finish_reason"] = ending.reason;
  summary["stop_sequence"] = output.stop_found().empty() ? common_json(nullptr) : common_json(output.stop_found());
  summary["prompt_tokens"] = prompt.size();
  summary["cached_tokens"] = sequence.stats().cached_tokens;
  summary["completion_tokens"] = ending.tokens;
  return summary.dump();
}

}  // namespace realm
