// A program that computes the model itself (guest/examples/llama_from_matmul.cpp) against the engine, alternating in one process: speed,
// and how near its logits are. The program has one thread, so the engine is measured with one too.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/clock.h"
#include "bench.h"
#include "engine/blocking_sequence.h"

namespace realm::bench {
namespace {

constexpr uint32_t context_tokens = 512;
constexpr uint32_t prompt_words = 128;
constexpr uint32_t new_tokens = 48;
constexpr uint32_t passages = 5;
constexpr uint32_t passage_bytes = 500;

struct Rates {
  std::vector<double> prompt, answer;  // tokens per second
};

class Timed : public Collector {
 public:
  runtime::EmitResult on_text(std::string_view piece) override {
    last_ns = monotonic_ns();
    if (count++ == 0) first_ns = last_ns;
    return Collector::on_text(piece);
  }
  int64_t first_ns = 0, last_ns = 0;
  uint32_t count = 0;
};

void through_program(runtime::Runtime& runtime, const runtime::RealmHandle& realm, uint32_t prompt_tokens, Rates& rates) {
  Timed answer;
  const int64_t began_ns = monotonic_ns();
  const auto body = request({{"prompt", filler_text(prompt_words, 1)}, {"max_tokens", new_tokens}});
  if (!runtime.generate(realm, {body}, answer)) return;
  answer.wait();
  if (answer.count < 2) return;
  rates.prompt.push_back(prompt_tokens * 1e9 / static_cast<double>(answer.first_ns - began_ns));
  rates.answer.push_back((answer.count - 1) * 1e9 / static_cast<double>(answer.last_ns - answer.first_ns));
}

void through_engine(engine::Scheduler& scheduler, const std::vector<int32_t>& prompt, Rates& rates) {
  engine::BlockingSequence sequence(scheduler, {.flow = 1, .tokens_max = context_tokens});
  const int64_t began_ns = monotonic_ns();
  sequence->append(prompt);
  sequence.take(1);
  const int64_t first_ns = monotonic_ns();
  sequence.take(new_tokens - 1);
  rates.prompt.push_back(static_cast<double>(prompt.size()) * 1e9 / static_cast<double>(first_ns - began_ns));
  rates.answer.push_back((new_tokens - 1) * 1e9 / static_cast<double>(monotonic_ns() - first_ns));
}

boost::json::object row(const char* who, const Rates& rates) {
  return {{"who", who}, {"prompt_tokens_per_second", median(rates.prompt)}, {"answer_tokens_per_second", median(rates.answer)}};
}

// Over passages of this project's own pages.
boost::json::object agreement(runtime::Runtime& runtime, const runtime::RealmHandle& realm) {
  std::ifstream file(std::string(REALM_DOCS) + "/ARCHITECTURE.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  double positions = 0, same_top = 0, ties = 0, gap_max = 0, kl = 0;
  for (uint32_t i = 0; i < passages; ++i) {
    Collector answer;
    if (!runtime.generate(realm, {request({{"compare", text.substr(i * passage_bytes, passage_bytes)}})}, answer)) return {};
    answer.wait();
    if (!answer.error.empty()) return {{"error", answer.error}};
    const auto found = boost::json::parse(answer.text).as_object();
    const auto number = [&found](const char* name) { return found.at(name).to_number<double>(); };
    positions += number("positions");
    same_top += number("same_top");
    ties += number("ties");
    gap_max = std::max(gap_max, number("gap_max"));
    kl += number("kl") * number("positions");
  }
  return {{"positions", positions},
          {"equal_top_token_share", same_top / positions},
          {"with_ties", (same_top + ties) / positions},
          {"gap_max", gap_max},
          {"kl", kl / positions}};
}

}  // namespace

boost::json::object llama_from_matmul(const Setup& setup) {
  Setup of_program = setup;
  of_program.program = (std::filesystem::path(setup.program).parent_path() / "examples" / "llama_from_matmul.wasm").string();
  const auto runtime = make_runtime(of_program, 1, context_tokens);
  const auto realm = make_realm(*runtime, "realm");
  const auto model = engine::Model::load({.file = setup.model}).value();
  const auto prompt = model->tokenize(filler_text(prompt_words, 1), {.add_special = true}).value();
  engine::SchedulerOptions options;
  options.sequences_max = 1;
  options.context_tokens_max = context_tokens;
  const auto all = engine::Scheduler::create(model, engine::ComputePool::create(setup.threads).value(), options).value();
  const auto one = engine::Scheduler::create(model, engine::ComputePool::create(1).value(), options).value();
  Rates of_all, of_one, programs;
  for (int i = 0; i < (setup.quick ? 2 : 5); ++i) {
    through_engine(*all, prompt, of_all);
    through_engine(*one, prompt, of_one);
    through_program(*runtime, realm, static_cast<uint32_t>(prompt.size()), programs);
  }
  return {{"prompt_tokens", prompt.size()},
          {"new_tokens", new_tokens},
          {"rows", {row("program", programs), row("engine, one thread", of_one), row("engine", of_all)}},
          {"agreement", agreement(*runtime, realm)}};
}

}  // namespace realm::bench
