// Greedy output through realm.wasm against plain llama.cpp's greedy loop, one prompt at a time.
#include "bench.h"
#include "engine/bare_loop.h"

namespace realm::bench {
namespace {

constexpr uint32_t context_tokens = 1'024;
constexpr uint32_t new_tokens = 64;

std::string text_until_end(const engine::Model& model, const std::vector<int32_t>& tokens, uint32_t& count) {
  std::string text;
  count = 0;
  for (const int32_t token : tokens) {
    ++count;
    if (model.is_end_of_generation(token)) break;
    if (!model.append_token_text(token, false, text)) break;
  }
  return text;
}

}  // namespace

boost::json::object greedy_equality(const Setup& setup) {
  auto runtime = make_runtime(setup, 1, context_tokens);
  const auto realm = make_realm(*runtime, "equality");
  auto pool = engine::ComputePool::create(setup.threads).value();
  const auto model = engine::Model::load({.file = setup.model}).value();
  engine::BareLoop bare(*model, *pool, 1, context_tokens, engine::SchedulerOptions{}.one_flow_tokens_max);

  int equal = 0, prompts = 0;
  boost::json::array lengths;
  for (uint32_t i = 0; i < 20; ++i) {
    const std::string prompt = filler_text(4 + i * 20, i + 1);
    const auto tokens = model->tokenize(prompt, {.add_special = true, .parse_special = true}).value();
    const auto plain = bare.generate({tokens}, new_tokens);
    uint32_t plain_count = 0;
    const std::string plain_text = text_until_end(*model, plain.at(0), plain_count);
    Collector collector;
    auto generation = runtime->generate(realm, {request({{"prompt", prompt}, {"temperature", 0}, {"max_tokens", new_tokens}})}, collector);
    if (generation) collector.wait();
    const bool same = collector.text == plain_text && collector.stats.completion_tokens == plain_count;
    if (!same)
      std::fprintf(stderr, "prompt of %zu tokens differs:\n  %s\n  %s\n", tokens.size(), plain_text.c_str(), collector.text.c_str());
    equal += same;
    ++prompts;
    lengths.push_back(tokens.size());
  }
  return {{"prompts", prompts}, {"equal", equal}, {"prompt_tokens", lengths}, {"new_tokens", new_tokens}};
}

}  // namespace realm::bench
