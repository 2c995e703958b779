// Our CPU kernels against ggml's own, alternating in one process: speed, and how much the numbers differ.
#include <llama.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <iterator>

#include "base/clock.h"
#include "bench.h"
#include "engine/backend.h"
#include "engine/compute_pool.h"
#include "engine/model.h"

namespace realm::bench {
namespace {

using engine::KernelChoice;

constexpr uint32_t context_tokens = 2'560;
constexpr uint32_t sequences_max = 16;
constexpr uint32_t prompt_tokens = 512;
constexpr uint32_t steps = 16;
constexpr uint32_t far_position = 2'000;

struct Step {
  int32_t token;
  uint32_t position;
  uint32_t sequence;
  bool logits;
};

// One model and context that compute with one kind of kernels.
class Side {
 public:
  Side(const Setup& setup, engine::ComputePool& pool, KernelChoice choice) : pool_(pool), choice_(choice) {
    engine::choose_kernels(choice);
    model_ = engine::Model::load({.file = setup.model, .backend = engine::BackendChoice::cpu}).value();
    llama_context_params params = llama_context_default_params();
    params.n_ctx = context_tokens * sequences_max;
    params.n_batch = params.n_ubatch = prompt_tokens;
    params.n_seq_max = sequences_max;
    params.n_threads = params.n_threads_batch = static_cast<int32_t>(pool.threads());
    params.kv_unified = false;
    params.no_perf = true;
    context_ = llama_init_from_model(model_->native(), params);
    pool.attach(context_);
    batch_ = llama_batch_init(prompt_tokens, 0, 1);
  }
  ~Side() {
    llama_batch_free(batch_);
    llama_free(context_);
  }
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  const engine::Model& model() const { return *model_; }
  void clear() { llama_memory_clear(llama_get_memory(context_), false); }

  // Seconds.
  double decode(const std::vector<Step>& tokens) {
    engine::choose_kernels(choice_);
    batch_.n_tokens = 0;
    for (const Step& step : tokens) {
      const int32_t at = batch_.n_tokens++;
      batch_.token[at] = step.token;
      batch_.pos[at] = static_cast<llama_pos>(step.position);
      batch_.n_seq_id[at] = 1;
      batch_.seq_id[at][0] = static_cast<llama_seq_id>(step.sequence);
      batch_.logits[at] = step.logits ? 1 : 0;
    }
    const auto turn = pool_.acquire();
    const int64_t began_ns = monotonic_ns();
    if (llama_decode(context_, batch_) != 0) std::abort();
    llama_synchronize(context_);
    return static_cast<double>(monotonic_ns() - began_ns) / 1e9;
  }

  const float* logits(int32_t row) const { return llama_get_logits_ith(context_, row); }

 private:
  engine::ComputePool& pool_;
  KernelChoice choice_;
  std::shared_ptr<engine::Model> model_;
  llama_context* context_ = nullptr;
  llama_batch batch_{};
};

// Tokens that nothing about speed depends on.
int32_t some_token(const Side& side, uint32_t number) {
  return static_cast<int32_t>(100 + number * 7'919 % (side.model().info().vocabulary_tokens - 200));
}

double fill(Side& side, uint32_t sequence, uint32_t begin, uint32_t end) {
  double seconds = 0;
  for (uint32_t from = begin; from < end; from += prompt_tokens) {
    std::vector<Step> tokens;
    for (uint32_t i = from; i < std::min(from + prompt_tokens, end); ++i)
      tokens.push_back({some_token(side, i), i, sequence, i + 1 == end});
    seconds += side.decode(tokens);
  }
  return seconds;
}

double prefill_rate(Side& side) {
  side.clear();
  return prompt_tokens / fill(side, 0, 0, prompt_tokens);
}

// Of `sequences` together, each at about `position`.
double decode_rate(Side& side, uint32_t sequences, uint32_t position) {
  side.clear();
  for (uint32_t i = 0; i < sequences; ++i) fill(side, i, 0, position);
  double seconds = 0;
  for (uint32_t step = 0; step < steps; ++step) {
    std::vector<Step> tokens;
    for (uint32_t i = 0; i < sequences; ++i) tokens.push_back({some_token(side, step + i), position + step, i, true});
    seconds += side.decode(tokens);
  }
  return steps * sequences / seconds;
}

template <typename Measure>
boost::json::object compare(const Setup& setup, const char* work, Side& own, Side& ggml, Measure measure) {
  std::vector<double> ours, theirs, ratios;
  for (int i = 0; i < (setup.quick ? 2 : 5); ++i) {
    theirs.push_back(measure(ggml));
    ours.push_back(measure(own));
    ratios.push_back(ours.back() / theirs.back());
  }
  return {{"work", work},
          {"own_tokens_per_second", median(ours)},
          {"ggml_tokens_per_second", median(theirs)},
          {"ratio_median", median(ratios)},
          {"ratio_min", *std::min_element(ratios.begin(), ratios.end())},
          {"ratio_max", *std::max_element(ratios.begin(), ratios.end())}};
}

struct Row {
  double surprise;  // of the token that came next, in nats
  int32_t top;
  std::vector<float> logprobs;  // kept of some rows only
};

constexpr size_t kept_rows_max = prompt_tokens;

Row look_at(const float* logits, uint32_t vocabulary, int32_t next, bool keep) {
  const float* top = std::max_element(logits, logits + vocabulary);
  double total = 0;
  for (uint32_t i = 0; i < vocabulary; ++i) total += std::exp(static_cast<double>(logits[i] - *top));
  Row row{std::log(total) - static_cast<double>(logits[next] - *top), static_cast<int32_t>(top - logits), {}};
  if (!keep) return row;
  row.logprobs.assign(logits, logits + vocabulary);
  for (float& logprob : row.logprobs) logprob -= *top + static_cast<float>(std::log(total));
  return row;
}

// Slices of unlike sizes, so that each way through the kernels is gone; and others.
constexpr std::array<uint32_t, 7> some_slices{1, 2, 5, 16, 40, 120, 328};
constexpr std::array<uint32_t, 7> other_slices{7, 64, 9, 100, 32, 200, 100};

// Every token of a text, from windows that begin with nothing.
std::vector<Row> read(Side& side, const std::vector<int32_t>& text, const std::array<uint32_t, 7>& slices) {
  std::vector<Row> rows;
  for (size_t window = 0; window + prompt_tokens < text.size(); window += prompt_tokens) {
    side.clear();
    uint32_t position = 0;
    for (const uint32_t slice : slices) {
      std::vector<Step> tokens;
      for (uint32_t i = 0; i < slice; ++i) tokens.push_back({text[window + position + i], position + i, 0, true});
      side.decode(tokens);
      for (uint32_t i = 0; i < slice; ++i) {
        const float* logits = side.logits(static_cast<int32_t>(i));
        rows.push_back(
            look_at(logits, side.model().info().vocabulary_tokens, text[window + position + i + 1], rows.size() < kept_rows_max));
      }
      position += slice;
    }
  }
  return rows;
}

double perplexity(const std::vector<Row>& rows) {
  double sum = 0;
  for (const Row& row : rows) sum += row.surprise;
  return std::exp(sum / static_cast<double>(rows.size()));
}

double equal_share(const std::vector<Row>& one, const std::vector<Row>& other) {
  size_t same = 0;
  for (size_t i = 0; i < one.size(); ++i) same += one[i].top == other[i].top;
  return static_cast<double>(same) / static_cast<double>(one.size());
}

// Of the rows that were kept, the mean in nats.
double divergence(const std::vector<Row>& one, const std::vector<Row>& other) {
  double sum = 0;
  const size_t count = std::min(one.size(), kept_rows_max);
  for (size_t i = 0; i < count; ++i) {
    for (size_t k = 0; k < one[i].logprobs.size(); ++k) {
      const double logprob = one[i].logprobs[k];
      sum += std::exp(logprob) * (logprob - static_cast<double>(other[i].logprobs[k]));
    }
  }
  return sum / static_cast<double>(count);
}

}  // namespace

boost::json::object own_kernels(const Setup& setup) {
  auto pool = engine::ComputePool::create(setup.threads).value();
  Side own(setup, *pool, KernelChoice::own), ggml(setup, *pool, KernelChoice::ggml);
  boost::json::array rows;
  rows.push_back(compare(setup, "prefill of 512 tokens", own, ggml, prefill_rate));
  for (const uint32_t sequences : {1u, 4u, 16u}) {
    const std::string work = "decode, " + std::to_string(sequences) + " at position 100";
    rows.push_back(compare(setup, work.c_str(), own, ggml, [&](Side& side) { return decode_rate(side, sequences, 100); }));
  }
  rows.push_back(compare(setup, "decode, 1 at position 2,000", own, ggml, [](Side& side) { return decode_rate(side, 1, far_position); }));
  engine::choose_kernels(KernelChoice::own);
  return {{"threads", pool->threads()}, {"kernels", engine::cpu_kernels_description()}, {"rows", std::move(rows)}};
}

boost::json::object kernel_numerics(const Setup& setup) {
  auto pool = engine::ComputePool::create(setup.threads).value();
  Side own(setup, *pool, KernelChoice::own), ggml(setup, *pool, KernelChoice::ggml);
  std::string text;
  for (const char* page : {"ARCHITECTURE.md", "threat_model.md", "operations.md"}) {
    std::ifstream file(std::string(REALM_DOCS) + "/" + page);
    text.append(std::istreambuf_iterator<char>(file), {});
  }
  auto tokens = own.model().tokenize(text, {.add_special = true}).value();
  if (setup.quick) tokens.resize(std::min<size_t>(tokens.size(), 4 * prompt_tokens + 1));
  const auto ours = read(own, tokens, some_slices), theirs = read(ggml, tokens, some_slices);
  const auto theirs_again = read(ggml, tokens, other_slices);
  engine::choose_kernels(KernelChoice::own);
  return {{"tokens", ours.size()},
          {"own_perplexity", perplexity(ours)},
          {"ggml_perplexity", perplexity(theirs)},
          {"perplexity_ratio_less_one", perplexity(ours) / perplexity(theirs) - 1},
          {"equal_top_token_share", equal_share(ours, theirs)},
          {"kl", divergence(theirs, ours)},
          {"ggml_itself_equal_top_token_share", equal_share(theirs, theirs_again)},
          {"ggml_itself_kl", divergence(theirs, theirs_again)}};
}

}  // namespace realm::bench
