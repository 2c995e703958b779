// Our CPU kernels against ggml's own, alternating in one process.
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <map>
#include <span>

#include "bench.h"
#include "engine/backend.h"
#include "kernel_side.h"
#include "kernels/extension.h"
#include "kernels/known_sets.h"

namespace realm::bench {
namespace {

constexpr uint32_t context_tokens = 2'560;
constexpr uint32_t prompt_tokens = Side::batch_tokens_max;
constexpr uint32_t steps = 16;
constexpr uint32_t far_position = 2'000;

using Measure = double (*)(Side& side);  // tokens/s

// Tokens that nothing about speed depends on.
int32_t some_token(const Side& side, uint32_t number) {
  return static_cast<int32_t>(100 + number * 7'919 % (side.model().info().vocabulary_tokens - 200));
}

double fill(Side& side, uint32_t sequence, uint32_t begin, uint32_t end) {
  double seconds = 0;
  for (uint32_t from = begin; from < end; from += prompt_tokens) {
    std::vector<Side::Step> tokens;
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
template <uint32_t sequences, uint32_t position>
double decode_rate(Side& side) {
  side.clear();
  for (uint32_t i = 0; i < sequences; ++i) fill(side, i, 0, position);
  double seconds = 0;
  for (uint32_t step = 0; step < steps; ++step) {
    std::vector<Side::Step> tokens;
    for (uint32_t i = 0; i < sequences; ++i) tokens.push_back({some_token(side, step + i), position + step, i, true});
    seconds += side.decode(tokens);
  }
  return steps * sequences / seconds;
}

// Of one slice of a prompt, `tokens` long, after `position` others.
template <uint32_t tokens, uint32_t position>
double slice_rate(Side& side) {
  side.clear();
  fill(side, 0, 0, position);
  double seconds = 0;
  uint32_t slices = 0;
  for (uint32_t from = position; slices < steps && from + tokens <= context_tokens; from += tokens, ++slices)
    seconds += fill(side, 0, from, from + tokens);
  return slices * tokens / seconds;
}

struct Work {
  const char* name;
  Measure measure;
};

constexpr Work works[] = {{"prefill of 512 tokens", prefill_rate},
                          {"decode, 1 at position 100", decode_rate<1, 100>},
                          {"decode, 16 at position 100", decode_rate<16, 100>},
                          {"decode, 4 at position 100", decode_rate<4, 100>},
                          {"decode, 1 at position 2,000", decode_rate<1, far_position>}};

constexpr Work slices[] = {{"1 at 100", slice_rate<1, 100>},
                           {"8 at 100", slice_rate<8, 100>},
                           {"32 at 100", slice_rate<32, 100>},
                           {"64 at 100", slice_rate<64, 100>},
                           {"128 at 100", slice_rate<128, 100>},
                           {"1 at 2,000", slice_rate<1, far_position>},
                           {"8 at 2,000", slice_rate<8, far_position>},
                           {"32 at 2,000", slice_rate<32, far_position>},
                           {"64 at 2,000", slice_rate<64, far_position>},
                           {"128 at 2,000", slice_rate<128, far_position>}};

// Tokens/s of each side, and how often those of ggml the others have, in the median and at the least and most.
boost::json::object compare(const Setup& setup, const std::string& name, Measure measure, std::map<std::string, Side>& sides) {
  std::map<std::string, std::vector<double>> rates, ratios;
  for (int i = 0; i < (setup.quick ? 3 : 5); ++i) {
    for (auto& [side_name, side] : sides) rates[side_name].push_back(measure(side));
    for (const auto& [side_name, of_side] : rates) ratios[side_name].push_back(of_side.back() / rates["ggml"].back());
  }
  boost::json::object row{{"work", name}};
  for (const auto& [side_name, of_side] : rates) row[side_name + " tokens/s"] = median(of_side);
  for (const auto& [side_name, of_side] : ratios) {
    if (side_name == "ggml") continue;
    char text[64];
    std::snprintf(text, sizeof(text), "%.2f (%.2f to %.2f)", median(of_side), *std::min_element(of_side.begin(), of_side.end()),
                  *std::max_element(of_side.begin(), of_side.end()));
    row[side_name + " / ggml"] = text;
  }
  return row;
}

void compare_works(const Setup& setup, const std::string& type, const std::string& model, std::span<const Work> of,
                   boost::json::array& rows) {
  auto pool = engine::ComputePool::create(setup.threads).value();
  std::map<std::string, Side> sides;
  const auto add = [&](const std::string& name, std::string_view set) {
    sides.try_emplace(name, SideOptions{.model = model, .set = set}, *pool, Side::sequences_max, context_tokens);
  };
  add("ggml", "");
  // The best of ours, and the one for every processor with AVX2.
  if (!kernels::known_sets().empty()) {
    for (const kernels::NamedSet& set : {kernels::known_sets().front(), kernels::known_sets().back()}) add(std::string(set.name), set.name);
  }
  for (const Work& work : of) {
    std::fprintf(stderr, "  %s, %s\n", type.c_str(), work.name);
    rows.push_back(compare(setup, type + ", " + work.name, work.measure, sides));
  }
}

boost::json::object with_rows(const Setup& setup, boost::json::array rows) {
  kernels::use(true);
  return {{"threads", engine::ComputePool::create(setup.threads).value()->threads()},
          {"kernels", engine::cpu_kernels_description()},
          {"rows", std::move(rows)}};
}

}  // namespace

boost::json::object own_kernels(const Setup& setup) {
  boost::json::array rows;
  compare_works(setup, "the model", setup.model, works, rows);
  return with_rows(setup, std::move(rows));
}

boost::json::object prompt_slices(const Setup& setup) {
  boost::json::array rows;
  compare_works(setup, "a slice of", setup.model, slices, rows);
  return with_rows(setup, std::move(rows));
}

boost::json::object kernels_by_type(const Setup& setup) {
  constexpr std::pair<const char*, llama_ftype> types[] = {{"F16", LLAMA_FTYPE_MOSTLY_F16},
                                                           {"Q8_0", LLAMA_FTYPE_MOSTLY_Q8_0},
                                                           {"Q5_0", LLAMA_FTYPE_MOSTLY_Q5_0},
                                                           {"Q5_1", LLAMA_FTYPE_MOSTLY_Q5_1}};
  boost::json::array rows;
  for (const auto& [name, type] : std::span(types).first(setup.quick ? 1 : std::size(types))) {
    const ConvertedModel converted(setup.model, type);
    compare_works(setup, name, converted.file(), std::span(works).first(3), rows);
  }
  return with_rows(setup, std::move(rows));
}

}  // namespace realm::bench
