// How far the numbers of our kernels and of ggml's are from the truth, from each other, and ggml's from its own when it computes the same
// in another way.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <list>

#include "bench.h"
#include "engine/backend.h"
#include "kernel_side.h"
#include "kernels/extension.h"
#include "kernels/known_sets.h"

namespace realm::bench {
namespace {

constexpr uint32_t window_tokens = Side::batch_tokens_max;

// A window is decoded in slices. The unlike ones go each way through the kernels.
using Slices = std::vector<uint32_t>;
const Slices unlike_slices{1, 2, 5, 16, 40, 120, 328};
const Slices one_slice{window_tokens};

// One row of logits, as probabilities.
struct Row {
  std::vector<float> logarithms;
  int32_t top = 0;
};

Row row_of(const float* logits, uint32_t vocabulary) {
  Row row{.logarithms = {logits, logits + vocabulary}};
  row.top = static_cast<int32_t>(std::max_element(logits, logits + vocabulary) - logits);
  const float largest = logits[row.top];
  double total = 0;
  for (const float value : row.logarithms) total += static_cast<double>(std::exp(value - largest));
  const float shift = largest + static_cast<float>(std::log(total));
  for (float& value : row.logarithms) value -= shift;
  return row;
}

// Kullback-Leibler divergence, in nats.
double divergence(const Row& truth, const Row& row) {
  double sum = 0;
  for (size_t i = 0; i < truth.logarithms.size(); ++i) {
    sum += static_cast<double>(std::exp(truth.logarithms[i]) * (truth.logarithms[i] - row.logarithms[i]));
  }
  return sum;
}

class Reader {
 public:
  Reader(std::string name, const SideOptions& options, uint32_t threads, const Slices& slices)
      : name_(std::move(name)),
        pool_(engine::ComputePool::create(threads).value()),
        side_(options, *pool_, 1, window_tokens),
        slices_(slices) {}

  // The tokens at `text` are the window and the one after it.
  void read(const int32_t* text) {
    rows_.clear();
    side_.clear();
    for (const uint32_t slice : slices_) {
      const auto position = static_cast<uint32_t>(rows_.size());
      std::vector<Side::Step> tokens;
      for (uint32_t i = 0; i < slice; ++i) tokens.push_back({text[position + i], position + i, 0, true});
      side_.decode(tokens);
      for (uint32_t i = 0; i < slice; ++i) {
        rows_.push_back(row_of(side_.logits(static_cast<int32_t>(i)), side_.model().info().vocabulary_tokens));
        surprise_ -= static_cast<double>(rows_.back().logarithms[static_cast<size_t>(text[position + i + 1])]);
      }
    }
  }

  void compare(const Reader& truth, const Reader& ggml) {
    for (size_t i = 0; i < rows_.size(); ++i) {
      divergence_ += divergence(truth.rows_[i], rows_[i]);
      top_of_truth_ += rows_[i].top == truth.rows_[i].top;
      top_of_ggml_ += rows_[i].top == ggml.rows_[i].top;
      same_as_ggml_ += rows_[i].logarithms == ggml.rows_[i].logarithms;
    }
    tokens_ += rows_.size();
    rows_.clear();
  }

  const engine::Model& model() const { return side_.model(); }

  boost::json::object figures(const Reader& truth) const {
    const auto tokens = static_cast<double>(tokens_);
    return {{"computed by", name_},
            {"perplexity", std::exp(surprise_ / tokens)},
            {"perplexity / true one - 1", std::exp((surprise_ - truth.surprise_) / tokens) - 1},
            {"divergence from truth, nats", divergence_ / tokens},
            {"true top token", static_cast<double>(top_of_truth_) / tokens},
            {"ggml's top token", static_cast<double>(top_of_ggml_) / tokens},
            {"rows equal to ggml's", static_cast<double>(same_as_ggml_) / tokens}};
  }

 private:
  std::string name_;
  std::shared_ptr<engine::ComputePool> pool_;
  Side side_;
  const Slices& slices_;
  std::vector<Row> rows_;  // of the last window
  size_t tokens_ = 0, top_of_truth_ = 0, top_of_ggml_ = 0, same_as_ggml_ = 0;
  double surprise_ = 0, divergence_ = 0;
};

std::string text_of_docs() {
  std::string text;
  for (const char* page : {"ARCHITECTURE.md", "threat_model.md", "operations.md"}) {
    std::ifstream file(std::string(REALM_DOCS) + "/" + page);
    text.append(std::istreambuf_iterator<char>(file), {});
  }
  return text;
}

}  // namespace

boost::json::object kernel_numerics(const Setup& setup) {
  const ConvertedModel exact(setup.model, LLAMA_FTYPE_ALL_F32);
  Reader truth("truth", {.model = exact.file(), .set = "", .kv = GGML_TYPE_F32, .flash_attention = false}, setup.threads, one_slice);
  const SideOptions ggml{.model = setup.model, .set = ""};
  std::list<Reader> readers;
  readers.emplace_back("ggml", ggml, setup.threads, unlike_slices);
  SideOptions without_flash = ggml, with_floats = ggml;
  without_flash.flash_attention = false;
  with_floats.model = exact.file();
  readers.emplace_back("ggml, one slice", ggml, setup.threads, one_slice);
  readers.emplace_back("ggml, 1 thread", ggml, 1, unlike_slices);
  readers.emplace_back("ggml, no flash attention", without_flash, setup.threads, unlike_slices);
  readers.emplace_back("ggml, weights as floats", with_floats, setup.threads, unlike_slices);
  for (const kernels::NamedSet& set : kernels::known_sets()) {
    const std::string name = "ours, " + std::string(set.name);
    readers.emplace_back(name, SideOptions{.model = setup.model, .set = set.name}, setup.threads, unlike_slices);
    readers.emplace_back(name + ", KV as q8_0", SideOptions{.model = setup.model, .set = set.name, .kv = GGML_TYPE_Q8_0}, setup.threads,
                         unlike_slices);
  }
  auto text = truth.model().tokenize(text_of_docs(), {.add_special = true}).value();
  if (setup.quick) text.resize(std::min<size_t>(text.size(), 4 * window_tokens + 1));
  size_t windows = 0;
  for (; (windows + 1) * window_tokens < text.size(); ++windows) {
    const int32_t* window = text.data() + windows * window_tokens;
    truth.read(window);
    readers.front().read(window);
    for (Reader& reader : readers) {
      if (&reader == &readers.front()) continue;
      reader.read(window);
      reader.compare(truth, readers.front());
    }
    readers.front().compare(truth, readers.front());
  }
  kernels::use(true);
  boost::json::array rows;
  for (const Reader& reader : readers) rows.push_back(reader.figures(truth));
  return {{"tokens", windows * window_tokens}, {"rows", std::move(rows)}};
}

}  // namespace realm::bench
