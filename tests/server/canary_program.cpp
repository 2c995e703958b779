// A realm's own program for test_canaries.py: it keeps its realm's word wherever it can, looks for others' there, and says what it finds.
//
//   {"do": "fork" | "save" | "load" | "store" | "memory" | "trap", "word": "...", "times": 3}
#include "realm_json.hpp"

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

namespace {

constexpr uint32_t new_tokens_max = 6;
constexpr size_t page_bytes = 65'536;
constexpr size_t pages = 160;
constexpr const char* name = "shared-name";  // the same in every realm

struct Asked {
  std::string what, word, prompt;
};

std::string go_on(const realm::Model& model, realm::Sequence& sequence) {
  std::string text;
  for (uint32_t i = 0; i < new_tokens_max; ++i) {
    const auto token = sequence.next();
    if (!token) break;
    model.append_text(&*token, 1, 0, text);
  }
  return text;
}

// Prompts differ in length between realms, so a loaded sequence of another realm is told by that.
std::string sequences(const Asked& asked) {
  const realm::Model model("");
  const auto prompt = model.tokenize(asked.prompt, REALM_TOKENIZE_ADD_SPECIAL);
  const auto tokens_max = static_cast<uint32_t>(prompt.size()) + new_tokens_max;
  if (asked.what == "load") {
    auto loaded = realm::Sequence::load(model, name, tokens_max);
    if (!loaded) return "nothing saved";
    if (loaded->length() != prompt.size()) return "FOREIGN sequence of " + std::to_string(loaded->length());
    return "loaded " + asked.word + go_on(model, *loaded);
  }
  realm::Sequence sequence(model, tokens_max);
  sequence.append(prompt);
  if (asked.what == "save") return sequence.save(name) ? "saved " + asked.word : "full";
  std::string said = asked.word;
  realm::Sequence first = sequence.fork(), second = sequence.fork();
  for (realm::Sequence* one : {&first, &second, &sequence}) said += go_on(model, *one);
  return said;
}

// Memory that the instance has not used yet: all zero, or what another left there.
std::string memory() {
  const size_t before = __builtin_wasm_memory_grow(0, pages);
  if (before == SIZE_MAX) return "no memory";
  auto* const begin = reinterpret_cast<char*>(before * page_bytes);
  std::string found;
  for (size_t i = 0; i < pages * page_bytes; ++i) {
    if (begin[i] == 0) continue;
    found += "FOREIGN memory: ";
    for (size_t k = 0; k < 64 && begin[i + k] >= ' ' && begin[i + k] < 0x7f; ++k) found += begin[i + k];
    break;
  }
  return found.empty() ? "zero" : found;
}

}  // namespace

REALM_EXPORT("handle") int32_t handle() {
  const auto request = realm::json::parse(realm::read_request());
  Asked asked{request.text("do"), request.text("word"), {}};
  for (uint32_t i = request.integer("times", 1, 1, 64); i > 0; --i) asked.prompt += asked.word + ' ';
  std::string said;
  if (asked.what == "store") {
    said = "kept " + realm::store_get(name).value_or("nothing");
    realm::store_put(name, asked.word);
  } else if (asked.what == "memory" || asked.what == "trap") {
    said = memory();
    // All of it is the word's now, for whoever gets this memory next.
    for (char* at = reinterpret_cast<char*>((__builtin_wasm_memory_size(0) - pages) * page_bytes); said == "zero";) {
      if (at + asked.word.size() > reinterpret_cast<char*>(__builtin_wasm_memory_size(0) * page_bytes)) break;
      for (const char c : asked.word) *at++ = c;
    }
  } else {
    said = sequences(asked);
  }
  realm::respond(200, REALM_CONTENT_TEXT);
  realm::emit(REALM_EMIT_BODY, said);
  if (asked.what == "trap") __builtin_trap();
  return 0;
}
