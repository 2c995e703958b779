#include <algorithm>

#include "realm/openai.h"
#include "realm/openai_fields.h"
#include "realm/prompt_list.h"

namespace realm {
namespace {

constexpr uint32_t prompts_max = 16;
constexpr uint32_t default_tokens_max = 16;  // OpenAI's
constexpr int32_t completion_logprobs_max = 5;
constexpr uint32_t judged_prompt_tokens_max = 2'048;  // whose own log-probabilities are told: a step of the batch each

struct Completion {
  Request request;
  uint32_t copies = 1;
  bool echo = false;
  bool prompt_only = false;  // max_tokens is 0
  PromptList prompts;
};

Completion read_completion(const common_json& body) {
  Completion completion;
  Request& request = completion.request;
  set_openai_defaults(request);
  request.max_tokens = default_tokens_max;
  refuse_unsupported(body);
  if (find(body, "suffix") != nullptr) refuse(400, "unsupported_parameter", "suffix: is not supported", "suffix");
  completion.prompts = read_prompts(body, "prompt", prompts_max);
  refuse_if(read_bool(body, "echo", completion.echo));
  common_json fields = body;
  const common_json* most = find(body, "max_tokens");
  completion.prompt_only = completion.echo && most != nullptr && most->is_number_integer() && most->get<int64_t>() == 0;
  if (completion.prompt_only) fields.erase("max_tokens");
  refuse_if(read_options(fields, request));
  completion.copies = read_copies(body);
  uint32_t best_of = completion.copies;
  refuse_if(read_integer(body, "best_of", 1, copies_max, best_of));
  if (best_of != completion.copies) refuse(400, "unsupported_value", "best_of: only the same as n is supported", "best_of");
  refuse_if(read_integer(body, "logprobs", 0, completion_logprobs_max, request.top_logprobs));
  return completion;
}

std::vector<std::vector<int32_t>> tokens_of(const Model& model, Completion& completion) {
  std::vector<std::vector<int32_t>> prompts = completion.prompts.token_ids;
  for (const std::string& text : completion.prompts.texts) {
    completion.request.prompt = text;
    // An empty prompt is the beginning of a document.
    if (text.empty() && model.info().bos_token >= 0) {
      prompts.push_back({model.info().bos_token});
    } else {
      prompts.push_back(prompt_tokens(model, completion.request));
    }
  }
  for (const auto& prompt : prompts) {
    require_room(model, prompt, "prompt");
    require_known_tokens(model, prompt, "prompt");
  }
  return prompts;
}

// `logprobs` as this older API has them: parallel lists.
struct Logprobs {
  common_json tokens = common_json::array();
  common_json values = common_json::array();
  common_json top = common_json::array();
  common_json offsets = common_json::array();

  void add(const TokenLogprob& token, size_t offset) {
    tokens.push_back(token.text);
    values.push_back(token.logprob);
    common_json alternatives = common_json::object();
    for (const auto& [text, logprob] : token.top) alternatives[text] = logprob;
    top.push_back(alternatives);
    offsets.push_back(offset);
  }
  // The first token of a prompt has none before it that it could follow.
  void add_first(const std::string& text) {
    tokens.push_back(text);
    values.push_back(nullptr);
    top.push_back(nullptr);
    offsets.push_back(0);
  }
  common_json object() const {
    common_json object = common_json::object();
    object["tokens"] = tokens;
    object["token_logprobs"] = values;
    object["top_logprobs"] = top;
    object["text_offset"] = offsets;
    return object;
  }
};

// In characters, as clients cut texts.
size_t width(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

class CompletionSink : public AnswerSink {
 public:
  CompletionSink(const Completion& completion, const Model& model, const std::vector<std::vector<int32_t>>& prompts, bool stream)
      : logprobs_(completion.request.top_logprobs >= 0),
        stream_(stream),
        model_(model.text(REALM_TEXT_NAME)),
        of_(prompts.size() * completion.copies) {
    for (size_t i = 0; completion.echo && i < prompts.size(); ++i) {
      Of of;
      if (!completion.prompts.texts.empty()) {
        of.text = completion.prompts.texts[i];
      } else {
        model.append_text(prompts[i].data(), static_cast<uint32_t>(prompts[i].size()), 0, of.text);
      }
      if (logprobs_) judge(completion, model, prompts[i], of.logprobs);
      of.offset = width(of.text);
      std::fill_n(of_.begin() + static_cast<ptrdiff_t>(i * completion.copies), completion.copies, of);
    }
  }

  common_json envelope() const {
    common_json object = common_json::object();
    object["id"] = id_;
    object["object"] = "text_completion";
    object["created"] = created_;
    object["model"] = model_;
    object["system_fingerprint"] = "realm";
    return object;
  }

  common_json choices() {
    common_json list = common_json::array();
    for (uint32_t i = 0; i < of_.size(); ++i) list.push_back(shown(i));
    return list;
  }

  void on_token(uint32_t choice, const TokenLogprob& token) override {
    of_[choice].logprobs.add(token, of_[choice].offset);
    of_[choice].offset += width(token.text);
  }
  void on_text(uint32_t choice, const std::string& text) override {
    of_[choice].text += text;
    if (stream_) send(choice);
  }
  void on_end(uint32_t choice, const Ending& ending) override {
    of_[choice].reason = finish_reason(ending, false);
    if (stream_) send(choice);
  }

 private:
  struct Of {
    std::string text;  // not given out yet
    size_t offset = 0;
    Logprobs logprobs;
    const char* reason = nullptr;
  };

  static void judge(const Completion& completion, const Model& model, const std::vector<int32_t>& prompt, Logprobs& into) {
    if (prompt.size() > judged_prompt_tokens_max) {
      refuse(400, "invalid_value", "logprobs: with echo at most " + std::to_string(judged_prompt_tokens_max) + " tokens of a prompt",
             "logprobs");
    }
    const auto told = prompt_logprobs(model, prompt, static_cast<uint32_t>(completion.request.top_logprobs));
    into.add_first(told.front().text);
    size_t offset = 0;
    std::string plain;  // control tokens are no part of the text
    for (size_t i = 1; i < told.size(); ++i) {
      plain.clear();
      model.append_text(&prompt[i - 1], 1, 0, plain);
      into.add(told[i], offset += width(plain));
    }
  }

  common_json shown(uint32_t choice) {
    Of& of = of_[choice];
    common_json object = common_json::object();
    object["text"] = of.text;
    object["index"] = choice;
    object["logprobs"] = logprobs_ ? of.logprobs.object() : common_json(nullptr);
    object["finish_reason"] = of.reason == nullptr ? common_json(nullptr) : common_json(of.reason);
    return object;
  }

  void send(uint32_t choice) {
    common_json list = common_json::array();
    list.push_back(shown(choice));
    common_json chunk = envelope();
    chunk["choices"] = list;
    send_event("", chunk);
    of_[choice].text.clear();
    of_[choice].logprobs = {};
  }

  const bool logprobs_;
  const bool stream_;
  const std::string id_ = "cmpl-" + request_id();
  const int64_t created_ = unix_seconds();
  const std::string model_;
  std::vector<Of> of_;
};

}  // namespace

void answer_completion(const common_json& body) {
  Completion completion = read_completion(body);
  const StreamOptions stream = read_stream(body);
  const Model model(completion.request.model);
  const auto prompts = tokens_of(model, completion);
  CompletionSink sink(completion, model, prompts, stream.stream);
  Usage usage;
  if (completion.prompt_only) {
    for (uint32_t i = 0; i < prompts.size() * completion.copies; ++i) sink.on_end(i, Ending());
    for (const auto& prompt : prompts) usage.prompt_tokens += static_cast<uint32_t>(prompt.size());
  } else {
    usage = generate_answers(model, completion.request, prompts, completion.copies, sink);
  }
  common_json answer = sink.envelope();
  if (stream.stream) {
    if (stream.include_usage) {
      answer["choices"] = common_json::array();
      answer["usage"] = openai_usage(usage);
      answer["timings"] = timings(usage);
      send_event("", answer);
    }
    send_event("", std::string_view("[DONE]"));
    return;
  }
  answer["choices"] = sink.choices();
  answer["usage"] = openai_usage(usage);
  answer["timings"] = timings(usage);
  reply(answer);
}

}  // namespace realm
