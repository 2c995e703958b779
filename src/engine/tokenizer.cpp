#include "engine/tokenizer.h"

#include <llama.h>

#include <algorithm>
#include <exception>
#include <string>

#include "base/memory.h"
#include "base/utf8.h"
#include "engine/large_stack.h"

namespace realm::engine {
namespace {

constexpr size_t stack_bytes_base = 1u << 20;
constexpr size_t probe_bytes = 4096;
constexpr size_t noticeable_bytes_per_byte = 16;
constexpr size_t text_bytes_in_place = 128;  // of a vocabulary that recurses: some 40 KiB of stack

Result<std::vector<int32_t>> tokenize_here(const llama_vocab* vocabulary, std::string_view text, bool add_special, bool parse_special) try {
  std::vector<int32_t> tokens(text.size() + 2);  // a token a byte, and BOS and EOS: nearly always enough
  const auto fill = [&] {
    return llama_tokenize(vocabulary, text.data(), static_cast<int32_t>(text.size()), tokens.data(), static_cast<int32_t>(tokens.size()),
                          add_special, parse_special);
  };
  int32_t count = fill();
  if (count < 0 && count != INT32_MIN) {
    tokens.resize(static_cast<size_t>(-count));
    count = fill();
  }
  if (count < 0) return fail(ErrorCode::resource_exhausted, "the text has too many tokens");
  tokens.resize(static_cast<size_t>(count));
  return tokens;
} catch (const std::exception& e) {
  return fail(ErrorCode::unsupported, std::string("the model's tokenizer cannot encode this text: ") + e.what());
}

// Texts without a break, one for each kind of character that a pattern may repeat.
std::vector<std::string> probes() {
  std::vector<std::string> texts;
  for (const std::string_view unit : {"a", "A", "1", "!", " ", "a ", "\n"}) {
    std::string text;
    while (text.size() < probe_bytes) text += unit;
    texts.push_back(std::move(text));
  }
  return texts;
}

// Byte pair encoders decode the text, with an exception thrown and caught for each byte that is no UTF-8: microseconds each.
bool decodes_text(const llama_vocab* vocabulary) { return llama_vocab_type(vocabulary) != LLAMA_VOCAB_TYPE_SPM; }

}  // namespace

Tokenizer::Tokenizer(const llama_vocab* vocabulary) : vocabulary_(vocabulary), decodes_text_(decodes_text(vocabulary)) {
  const auto stack_used = [&](std::string_view text) {
    return run_on_large_stack(16 * stack_bytes_base, [&] { (void)tokenize_here(vocabulary, text, false, false); });
  };
  const size_t least = stack_used("a");
  size_t most = least;
  for (const std::string& text : probes()) most = std::max(most, stack_used(text));
  const size_t per_byte = (most - least) / probe_bytes;
  if (per_byte >= noticeable_bytes_per_byte) stack_bytes_per_text_byte_ = 2 * per_byte;
}

Result<std::vector<int32_t>> Tokenizer::tokenize(std::string_view text, bool add_special, bool parse_special) const {
  return decodes_text_ ? tokenize_any(valid_utf8(text), add_special, parse_special) : tokenize_any(text, add_special, parse_special);
}

Result<std::vector<int32_t>> Tokenizer::tokenize_any(std::string_view text, bool add_special, bool parse_special) const {
  if (stack_bytes_per_text_byte_ == 0 || text.size() <= text_bytes_in_place) {
    return tokenize_here(vocabulary_, text, add_special, parse_special);
  }
  Result<std::vector<int32_t>> tokens;
  const size_t stack_bytes = stack_bytes_base + text.size() * stack_bytes_per_text_byte_;
  if (stack_bytes > free_memory_bytes() ||
      run_on_large_stack(stack_bytes, [&] { tokens = tokenize_here(vocabulary_, text, add_special, parse_special); }) == 0) {
    return fail(ErrorCode::resource_exhausted, "no memory is free to tokenise a text of " + std::to_string(text.size()) + " bytes");
  }
  return tokens;
}

}  // namespace realm::engine
