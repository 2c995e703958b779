// What `realm run` was asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace realm::cli {

struct RunOptions {
  std::string prompt;
  std::string model;
  std::string program;
  std::string backend = "auto";
  std::string kernels = "own";
  std::string kv_type = "f16";
  std::string system;
  std::optional<int64_t> max_tokens;
  std::optional<double> temperature;
  std::optional<int64_t> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> typical_p;
  std::optional<double> repeat_penalty;
  std::optional<double> frequency_penalty;
  std::optional<double> presence_penalty;
  std::optional<int64_t> seed;
  std::vector<std::string> stop;
  std::string schema;   // JSON Schema that the answer fulfils
  std::string grammar;  // GBNF that it matches
  std::string regex;
  uint32_t context_tokens = 0;  // 0: the scheduler's default
  uint32_t threads = 0;
  uint32_t realms = 0;  // 0: not asked for
  bool raw = false;     // the prompt as it is, without the chat template
  bool ignore_eos = false;
  bool json = false;
  bool verbose = false;
};

constexpr uint32_t realms_max = 1'000;

}  // namespace realm::cli
