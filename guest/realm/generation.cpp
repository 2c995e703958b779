#include "realm/generation.h"

#include <algorithm>
#include <memory>

#include "realm/chat_template.h"
#include "realm/stop_matcher.h"
#include "realm/token_source.h"
#include "realm/utf8_assembler.h"

namespace realm {
namespace {

constexpr uint32_t tokens_per_call = 16;
constexpr float never = -1e9f;  // a bias that keeps a token from being drawn

uint64_t random_seed() {
  uint64_t seed = 0;
  require(realm_random(reinterpret_cast<uint8_t*>(&seed), sizeof seed), "random");
  return seed;
}

void set_sampler(Sequence& sequence, const Model& model, const Request& request, uint32_t copy, bool judged) {
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
  const uint32_t flags = (request.ignore_eos ? 0u : uint32_t{REALM_SAMPLER_STOP_AT_END}) | (judged ? uint32_t{REALM_SAMPLER_JUDGED} : 0u);
  const realm_sampler_params_t params = {request.temperature,
                                         request.top_k,
                                         request.top_p,
                                         request.min_p,
                                         request.typical_p,
                                         request.repeat_penalty,
                                         request.frequency_penalty,
                                         request.presence_penalty,
                                         request.repeat_last_n,
                                         flags,
                                         request.seed ? *request.seed + copy : random_seed(),
                                         request.max_tokens,
                                         0};
  sequence.sampler(params, tokens, biases);
}

std::string shown_text(const Model& model, int32_t token) {
  std::string text;
  model.append_text(&token, 1, REALM_DETOKENIZE_SPECIAL, text);
  return text;
}

// Of the token that a judged sequence took last, or of another at its place.
TokenLogprob logprob_of(const Model& model, const Sequence& sequence, int32_t token, uint32_t position, uint32_t alternatives) {
  TokenLogprob told{.text = shown_text(model, token), .logprob = sequence.logprob(position, token), .top = {}};
  int32_t tokens[top_logprobs_max];
  float logprobs[top_logprobs_max];
  const uint32_t count = alternatives == 0 ? 0 : std::min(alternatives, sequence.candidates(position, tokens, logprobs, alternatives));
  for (uint32_t i = 0; i < count; ++i) told.top.emplace_back(shown_text(model, tokens[i]), logprobs[i]);
  return told;
}

// One answer in the making.
class Choice {
 public:
  Choice(const Model& model, const Request& request, uint32_t number, uint32_t copy, const std::vector<int32_t>& prompt, AnswerSink& sink)
      : model_(model),
        request_(request),
        number_(number),
        sink_(sink),
        constraint_(constraint_of(request)),
        sequence_(model, tokens_max(model, request, prompt)),
        source_(sequence_, model, constraint_.get()),
        stops_(request.stop) {
    sequence_.append(prompt);
    set_sampler(sequence_, model, request, copy, constraint_ != nullptr || request.top_logprobs >= 0);
  }

  // Takes what has been sampled, waiting for at least one token. False when the answer has ended.
  bool advance() {
    const uint32_t wanted = request_.max_tokens == 0 ? tokens_per_call : std::min(tokens_per_call, request_.max_tokens - ending_.tokens);
    int32_t tokens[tokens_per_call];
    const uint32_t count = wanted == 0 ? 0 : source_.next(tokens, wanted);
    for (uint32_t i = 0; i < count; ++i) {
      ++ending_.tokens;
      ending_.reasoning_tokens += sink_.is_reasoning(number_) ? 1 : 0;
      if (request_.top_logprobs >= 0) tell_logprob(tokens[i], sequence_.length() - count + i);
      if ((!request_.ignore_eos && model_.ends_generation(tokens[i])) || add(tokens[i]) || sink_.is_satisfied(number_)) return finish(true);
    }
    const bool cut = count == 0 || (request_.max_tokens != 0 && ending_.tokens >= request_.max_tokens);
    return cut ? finish(source_.is_whole()) : true;
  }

  const Ending& ending() const { return ending_; }
  realm_sequence_stats_t stats() const { return sequence_.stats(); }

 private:
  static std::unique_ptr<Constraint> constraint_of(const Request& request) {
    std::string problem;
    auto constraint = make_constraint(request.shape, problem);
    if (!problem.empty()) fail(REALM_FAIL_BAD_REQUEST, problem);
    return constraint;
  }

  void tell_logprob(int32_t token, uint32_t position) {
    if (model_.ends_generation(token) && !request_.ignore_eos) return;
    sink_.on_token(number_, logprob_of(model_, sequence_, token, position, static_cast<uint32_t>(request_.top_logprobs)));
  }

  static uint32_t tokens_max(const Model& model, const Request& request, const std::vector<int32_t>& prompt) {
    const uint32_t context = model.info().context_tokens_max;
    const auto room = context - static_cast<uint32_t>(prompt.size());
    return request.max_tokens > 0 && request.max_tokens < room ? static_cast<uint32_t>(prompt.size()) + request.max_tokens : context;
  }

  // Everything between a sampled token and the text that may be shown. True when a stop string ends the answer.
  bool add(int32_t token) {
    bytes_.clear();
    whole_.clear();
    shown_.clear();
    model_.append_text(&token, 1, request_.shows_special ? REALM_DETOKENIZE_SPECIAL : 0, bytes_);
    utf8_.add(bytes_, whole_);
    const bool stopped = stops_.add(whole_, shown_);
    show();
    return stopped;
  }

  bool finish(bool stopped) {
    ending_.stopped = stopped;
    ending_.stop_found = stops_.found();
    if (ending_.stop_found.empty()) {
      whole_.clear();
      shown_.clear();
      utf8_.flush(whole_);
      if (!stops_.add(whole_, shown_)) stops_.flush(shown_);
      show();
    }
    sink_.on_end(number_, ending_);
    return false;
  }

  void show() {
    if (!shown_.empty()) sink_.on_text(number_, shown_);
  }

  const Model& model_;
  const Request& request_;
  const uint32_t number_;
  AnswerSink& sink_;
  const std::unique_ptr<Constraint> constraint_;
  Sequence sequence_;
  TokenSource source_;
  Utf8Assembler utf8_;
  StopMatcher stops_;
  Ending ending_;
  std::string bytes_, whole_, shown_;
};

}  // namespace

void require_room(const Model& model, const std::vector<int32_t>& tokens, const std::string& field) {
  const uint32_t context = model.info().context_tokens_max;
  if (tokens.empty()) fail(REALM_FAIL_BAD_REQUEST, field + ": the prompt has no tokens");
  if (tokens.size() >= context) {
    fail(REALM_FAIL_CONTEXT_EXCEEDED, field + ": the prompt has " + std::to_string(tokens.size()) + " tokens, and the context of " +
                                          std::to_string(context) + " must hold it and at least one more");
  }
}

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

std::vector<int32_t> text_tokens(const Model& model, const std::string& text, const std::string& field) {
  if (text.size() > tokenize_bytes_max) {
    fail(REALM_FAIL_BAD_REQUEST, field + ": the prompt has " + std::to_string(text.size()) + " bytes, and at most " +
                                     std::to_string(tokenize_bytes_max) + " are taken");
  }
  std::vector<int32_t> tokens = model.tokenize(text, REALM_TOKENIZE_ADD_SPECIAL | REALM_TOKENIZE_PARSE_SPECIAL);
  require_room(model, tokens, field);
  return tokens;
}

std::vector<int32_t> prompt_tokens(const Model& model, const Request& request) {
  return text_tokens(model, prompt_text(model, request) + request.prefill, request.prompt ? "prompt" : "messages");
}

std::vector<TokenLogprob> prompt_logprobs(const Model& model, const std::vector<int32_t>& prompt, uint32_t alternatives) {
  std::vector<TokenLogprob> told = {{.text = shown_text(model, prompt.front()), .logprob = 0, .top = {}}};
  Sequence sequence(model, static_cast<uint32_t>(prompt.size()) + 1);
  sequence.append({prompt.front()});
  realm_sampler_params_t params{};
  params.top_p = params.typical_p = params.repetition_penalty = 1;
  params.flags = REALM_SAMPLER_JUDGED;
  sequence.sampler(params);
  std::vector<uint8_t> mask((model.info().vocabulary_tokens + 7) / 8);
  for (uint32_t i = 1; i < prompt.size(); ++i) {
    uint8_t& bits = mask[static_cast<size_t>(prompt[i]) / 8];
    bits = static_cast<uint8_t>(1u << (prompt[i] % 8));
    sequence.mask(i, mask);
    bits = 0;
    int32_t token = 0;
    if (sequence.next(&token, 1) == 0) break;
    told.push_back(logprob_of(model, sequence, prompt[i], i, alternatives));
  }
  return told;
}

Usage generate_answers(const Model& model, const Request& request, const std::vector<std::vector<int32_t>>& prompts, uint32_t copies,
                       AnswerSink& sink) {
  std::vector<std::unique_ptr<Choice>> choices;
  for (const auto& prompt : prompts) {
    for (uint32_t copy = 0; copy < copies; ++copy) {
      choices.push_back(std::make_unique<Choice>(model, request, static_cast<uint32_t>(choices.size()), copy, prompt, sink));
    }
  }
  // The host computes all of them ahead while the program waits for one.
  std::vector<Choice*> running;
  for (const auto& choice : choices) running.push_back(choice.get());
  while (!running.empty()) std::erase_if(running, [](Choice* choice) { return !choice->advance(); });

  Usage usage;
  for (const auto& prompt : prompts) usage.prompt_tokens += static_cast<uint32_t>(prompt.size());
  for (size_t i = 0; i < choices.size(); ++i) {
    const realm_sequence_stats_t stats = choices[i]->stats();
    usage.completion_tokens += choices[i]->ending().tokens;
    usage.reasoning_tokens += choices[i]->ending().reasoning_tokens;
    if (i % copies == 0) usage.cached_tokens += stats.cached_tokens;
    usage.queue_ms = std::max(usage.queue_ms, static_cast<double>(stats.queue_ns) / 1e6);
    usage.prefill_ms = std::max(usage.prefill_ms, static_cast<double>(stats.prefill_ns) / 1e6);
    usage.decode_ms = std::max(usage.decode_ms, static_cast<double>(stats.decode_ns) / 1e6);
  }
  return usage;
}

std::string generate_answer(const Request& request, AnswerSink& sink) {
  // Notes how the only answer ends on its way to the caller's sink.
  struct Noting : AnswerSink {
    AnswerSink& next;
    Ending ending;
    explicit Noting(AnswerSink& sink) : next(sink) {}
    void on_text(uint32_t choice, const std::string& text) override { next.on_text(choice, text); }
    void on_end(uint32_t, const Ending& end) override { ending = end; }
  } noting(sink);
  const Model model(request.model);
  const Usage usage = generate_answers(model, request, {prompt_tokens(model, request)}, 1, noting);
  const Ending& ending = noting.ending;
  common_json summary = common_json::object();
  summary["finish_reason"] = ending.stopped ? "stop" : "length";
  summary["stop_sequence"] = ending.stop_found.empty() ? common_json(nullptr) : common_json(ending.stop_found);
  summary["prompt_tokens"] = usage.prompt_tokens;
  summary["cached_tokens"] = usage.cached_tokens;
  summary["completion_tokens"] = usage.completion_tokens;
  return summary.dump();
}

}  // namespace realm
