// llama.cpp's tokenizer of one vocabulary, made safe to call with any text on any stack.
//
// Some vocabularies split text with std::regex, which recurses once a character: 50,000 letters without a break overflow a stack of
// 8 MiB and end the process. How deep a vocabulary goes is measured when it is loaded.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"

struct llama_vocab;

namespace realm::engine {

class Tokenizer {
 public:
  // The vocabulary outlives this.
  explicit Tokenizer(const llama_vocab* vocabulary);

  // Token ids of `text`, which is at most 1 GiB. Fails with resource_exhausted or unsupported. Any thread.
  Result<std::vector<int32_t>> tokenize(std::string_view text, bool add_special, bool parse_special) const;

 private:
  Result<std::vector<int32_t>> tokenize_any(std::string_view text, bool add_special, bool parse_special) const;

  const llama_vocab* vocabulary_;
  bool decodes_text_;
  size_t stack_bytes_per_text_byte_ = 0;  // 0: its depth does not depend on the text
};

}  // namespace realm::engine
