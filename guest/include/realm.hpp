// The kit for programs in C++: the program ABI (abi/realm_abi.h) with owning types. Header only.
//
// A program is one module that exports `handle` (it serves the one request of its instance and returns 0) and the version marker
// REALM_ABI_MARKER. Memory is the instance's own and goes with it, so nothing has to be freed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "abi/realm_abi.h"

#define REALM_EXPORT(name) extern "C" __attribute__((export_name(name), used))

namespace realm {

constexpr size_t tokenize_bytes_max = 1u << 20;  // the host takes no longer text in one call

// Called once, before an instance that fails ends. A program that answers in a protocol of its own says there what is wrong, in the
// protocol's shape, and leaves; when it returns, the host answers.
using FailureWriter = void (*)(realm_failure failure, std::string_view message);
inline FailureWriter failure_writer = nullptr;

// Ends the instance; the caller gets `message` as the protocol's error.
[[noreturn]] inline void fail(realm_failure failure, std::string_view message) {
  if (FailureWriter writer = std::exchange(failure_writer, nullptr)) writer(failure, message);
  realm_fail(failure, reinterpret_cast<const uint8_t*>(message.data()), static_cast<uint32_t>(message.size()));
  __builtin_trap();
}

// Ends the instance; a fresh one runs the same request and finds `note` in restart_note(). Returns only when the host refuses: four
// restarts were used, or something was emitted.
inline void restart(std::string_view note) {
  realm_restart(reinterpret_cast<const uint8_t*>(note.data()), static_cast<uint32_t>(note.size()));
}

inline std::string restart_note() {
  char note[256];
  const int32_t count = realm_restart_note(reinterpret_cast<uint8_t*>(note), sizeof note);
  return std::string(note, static_cast<size_t>(count > 0 ? count : 0));
}

// What went wrong, for a status that has no better explanation where it occurs.
inline std::string_view describe(int32_t status) {
  switch (status) {
    case REALM_INVALID_ARGUMENT:
      return "a value is out of range";
    case REALM_BAD_HANDLE:
      return "a handle is not valid";
    case REALM_FAULT:
      return "an address is not valid";
    case REALM_LIMIT:
      return "a limit of the realm is reached";
    case REALM_NOT_FOUND:
      return "no such model";
    case REALM_CONTEXT_FULL:
      return "the context is full";
    case REALM_UNAVAILABLE:
      return "the server cannot take this on now";
    case REALM_CANCELLED:
      return "the client has gone";
    case REALM_UNSUPPORTED:
      return "the model cannot do this";
    default:
      return "unknown status";
  }
}

// Ends the instance unless `status` is a success, which it passes on.
inline int32_t require(int32_t status, std::string_view what) {
  if (status >= 0) return status;
  const auto failure =
      status == REALM_UNAVAILABLE || status == REALM_LIMIT || status == REALM_CANCELLED ? REALM_FAIL_UNAVAILABLE : REALM_FAIL_PROGRAM;
  fail(failure, std::string(what) + ": " + std::string(describe(status)));
}

inline std::string read_request() {
  std::string body(static_cast<size_t>(require(realm_input_size(), "request")), '\0');
  uint32_t at = 0;
  while (at < body.size()) {
    const int32_t count =
        require(realm_input_read(reinterpret_cast<uint8_t*>(body.data()) + at, static_cast<uint32_t>(body.size()) - at, at), "request");
    if (count == 0) break;
    at += static_cast<uint32_t>(count);
  }
  return body;
}

inline std::string request_text(enum realm_request_text which) {
  std::string text(static_cast<size_t>(require(realm_request_text(which, nullptr, 0), "request")), '\0');
  if (!text.empty()) realm_request_text(which, reinterpret_cast<uint8_t*>(text.data()), static_cast<uint32_t>(text.size()));
  return text;
}

// Announces status and content of the answer to a request with a route; before the first emit.
inline void respond(uint32_t status, realm_content content) { require(realm_respond(status, content), "respond"); }

inline void emit(realm_emit_kind kind, std::string_view bytes) {
  require(realm_emit(kind, reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<uint32_t>(bytes.size())), "emit");
}

// One server-sent event. The name may be empty; it has no line break.
inline void emit_event(std::string_view name, std::string_view data) {
  std::string event(name);
  event += '\n';
  event += data;
  emit(REALM_EMIT_EVENT, event);
}

// The value under a key of the realm's store; nothing when there is none.
inline std::optional<std::string> store_get(std::string_view key) {
  std::string value(256, '\0');
  while (true) {
    const int32_t bytes = realm_store_get(reinterpret_cast<const uint8_t*>(key.data()), static_cast<uint32_t>(key.size()),
                                          reinterpret_cast<uint8_t*>(value.data()), static_cast<uint32_t>(value.size()));
    if (bytes == REALM_NOT_FOUND) return std::nullopt;
    const bool fits = static_cast<size_t>(require(bytes, "store")) <= value.size();
    value.resize(static_cast<size_t>(bytes));
    if (fits) return value;
  }
}

// Durable when it returns. An empty value deletes. False when the store is full.
inline bool store_put(std::string_view key, std::string_view value) {
  const int32_t status = realm_store_put(reinterpret_cast<const uint8_t*>(key.data()), static_cast<uint32_t>(key.size()),
                                         reinterpret_cast<const uint8_t*>(value.data()), static_cast<uint32_t>(value.size()));
  return status != REALM_LIMIT && require(status, "store") >= 0;
}

// The keys that begin with `prefix`, in the order of their bytes.
inline std::vector<std::string> store_keys(std::string_view prefix) {
  std::string packed;
  while (true) {
    const int32_t bytes = realm_store_list(reinterpret_cast<const uint8_t*>(prefix.data()), static_cast<uint32_t>(prefix.size()),
                                           reinterpret_cast<uint8_t*>(packed.data()), static_cast<uint32_t>(packed.size()));
    const bool fits = static_cast<size_t>(require(bytes, "store")) <= packed.size();
    packed.resize(static_cast<size_t>(bytes));
    if (fits) break;
  }
  std::vector<std::string> keys;
  for (size_t at = 0; at < packed.size(); at += keys.back().size() + 1) {
    keys.push_back(packed.substr(at + 1, static_cast<uint8_t>(packed[at])));
  }
  return keys;
}

// How tokens are drawn: the likeliest one each time. `flags`: enum realm_sampler_flags.
inline realm_sampler_params_t greedy(uint32_t flags = 0) {
  realm_sampler_params_t params = {};
  params.top_p = params.typical_p = params.repetition_penalty = 1;
  params.flags = flags;
  return params;
}

// At random; the same seed gives the same tokens.
inline realm_sampler_params_t drawn(float temperature, uint64_t seed, uint32_t flags = 0) {
  realm_sampler_params_t params = greedy(flags);
  params.temperature = temperature;
  params.seed = seed;
  return params;
}

// A leased model.
class Model {
 public:
  // An empty name is the host's default model. Ends the instance when there is no such model.
  explicit Model(std::string_view name) {
    handle_ = realm_model_open(reinterpret_cast<const uint8_t*>(name.data()), static_cast<uint32_t>(name.size()));
    if (handle_ == REALM_NOT_FOUND) fail(REALM_FAIL_MODEL_NOT_FOUND, "model: there is no model named '" + std::string(name) + "'");
    require(handle_, "model");
    require(realm_model_info(handle_, &info_), "model");
  }
  ~Model() { realm_model_close(handle_); }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  int32_t handle() const { return handle_; }
  const realm_model_info_t& info() const { return info_; }

  std::string text(enum realm_model_text which) const {
    std::string text(static_cast<size_t>(require(realm_model_text(handle_, which, nullptr, 0), "model text")), '\0');
    if (!text.empty()) {
      realm_model_text(handle_, which, reinterpret_cast<uint8_t*>(text.data()), static_cast<uint32_t>(text.size()));
    }
    return text;
  }

  // At most tokenize_bytes_max of text.
  std::vector<int32_t> tokenize(std::string_view text, uint32_t flags) const {
    std::vector<int32_t> tokens(text.size() / 2 + 16);
    while (true) {
      const int32_t count = realm_tokenize(handle_, flags, reinterpret_cast<const uint8_t*>(text.data()),
                                           static_cast<uint32_t>(text.size()), tokens.data(), static_cast<uint32_t>(tokens.size()));
      if (count == REALM_UNSUPPORTED) fail(REALM_FAIL_BAD_REQUEST, "the model's tokenizer cannot encode this text");
      require(count, "tokenize");
      const bool fits = static_cast<size_t>(count) <= tokens.size();
      tokens.resize(static_cast<size_t>(count));
      if (fits) return tokens;
    }
  }

  // Appends the bytes of the tokens, which need not be whole characters.
  void append_text(const int32_t* tokens, uint32_t count, uint32_t flags, std::string& out) const {
    const size_t before = out.size();
    uint32_t room = count * 16 + 64;
    while (true) {
      out.resize(before + room);
      const int32_t bytes =
          require(realm_detokenize(handle_, flags, tokens, count, reinterpret_cast<uint8_t*>(out.data()) + before, room), "detokenize");
      if (static_cast<uint32_t>(bytes) <= room) {
        out.resize(before + static_cast<size_t>(bytes));
        return;
      }
      room = static_cast<uint32_t>(bytes);
    }
  }

  std::string text_of(const std::vector<int32_t>& tokens) const {
    std::string text;
    append_text(tokens.data(), static_cast<uint32_t>(tokens.size()), 0, text);
    return text;
  }
  std::string text_of(int32_t token) const { return text_of(std::vector{token}); }

  // The text of a special token, empty for -1.
  std::string token_text(int32_t token) const {
    std::string text;
    if (token >= 0) append_text(&token, 1, REALM_DETOKENIZE_SPECIAL, text);
    return text;
  }

  // The front-coded texts of the vocabulary, as `model_vocabulary` of the ABI has them.
  std::vector<uint8_t> vocabulary() const {
    std::vector<uint8_t> bytes(static_cast<size_t>(require(realm_model_vocabulary(handle_, nullptr, 0), "vocabulary")));
    require(realm_model_vocabulary(handle_, bytes.data(), static_cast<uint32_t>(bytes.size())), "vocabulary");
    return bytes;
  }

  bool ends_generation(int32_t token) const {
    return (require(realm_token_flags(handle_, token), "token") & REALM_TOKEN_END_OF_GENERATION) != 0;
  }

 private:
  int32_t handle_ = 0;
  realm_model_info_t info_{};
};

// A token history in the shared batch.
class Sequence {
 public:
  // `flags`: enum realm_sequence_flags.
  Sequence(const Model& model, uint32_t tokens_max, uint32_t flags = 0) {
    const realm_sequence_params_t params = {tokens_max, REALM_PRIORITY_NORMAL, flags, 0};
    handle_ = require(realm_seq_open(model.handle(), &params), "sequence");
  }
  ~Sequence() {
    if (handle_ > 0) realm_seq_close(handle_);
  }
  Sequence(Sequence&& other) noexcept : handle_(std::exchange(other.handle_, 0)) {}
  Sequence& operator=(Sequence&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  int32_t handle() const { return handle_; }

  // A sequence with the first `length` tokens of this one and its sampler; nothing is computed again.
  Sequence fork(uint32_t length) const { return Sequence(require(realm_seq_fork(handle_, length), "fork")); }
  Sequence fork() const { return fork(length()); }
  // For later requests of the realm. False when its limit of saved sequences is reached.
  bool save(std::string_view name) const {
    const int32_t status = realm_seq_save(handle_, reinterpret_cast<const uint8_t*>(name.data()), static_cast<uint32_t>(name.size()));
    return status != REALM_LIMIT && require(status, "save") >= 0;
  }
  // What was saved under the name; nothing when there is no such sequence.
  static std::optional<Sequence> load(const Model& model, std::string_view name, uint32_t tokens_max) {
    const realm_sequence_params_t params = {tokens_max, REALM_PRIORITY_NORMAL, 0, 0};
    const int32_t handle =
        realm_seq_load(model.handle(), reinterpret_cast<const uint8_t*>(name.data()), static_cast<uint32_t>(name.size()), &params);
    if (handle == REALM_NOT_FOUND) return std::nullopt;
    return Sequence(require(handle, "load"));
  }
  // False when there was none of the name.
  static bool forget(const Model& model, std::string_view name) {
    const int32_t status =
        realm_seq_forget(model.handle(), reinterpret_cast<const uint8_t*>(name.data()), static_cast<uint32_t>(name.size()));
    return status != REALM_NOT_FOUND && require(status, "forget") >= 0;
  }

  void append(const std::vector<int32_t>& tokens) {
    require(realm_seq_append(handle_, tokens.data(), static_cast<uint32_t>(tokens.size())), "append");
  }
  void sampler(const realm_sampler_params_t& params, const std::vector<int32_t>& bias_tokens = {},
               const std::vector<float>& bias_values = {}) {
    require(realm_seq_sampler(handle_, &params, bias_tokens.data(), static_cast<uint32_t>(bias_tokens.size()), bias_values.data(),
                              static_cast<uint32_t>(bias_values.size())),
            "sampler");
  }
  // How many tokens came; 0 when the context is full. Ends the instance on any other failure.
  uint32_t next(int32_t* tokens, uint32_t capacity) {
    const int32_t count = realm_seq_next(handle_, tokens, capacity);
    return count == REALM_CONTEXT_FULL ? 0 : static_cast<uint32_t>(require(count, "generation"));
  }
  std::optional<int32_t> next() {
    int32_t token = 0;
    return next(&token, 1) > 0 ? std::optional(token) : std::nullopt;
  }
  void truncate(uint32_t length) { require(realm_seq_truncate(handle_, length), "truncate"); }
  // Makes `token` the one at `position`, where the sequence then ends.
  void put(uint32_t position, int32_t token) {
    truncate(position);
    push(&token, 1);
  }
  // Of a sequence opened with REALM_SEQUENCE_EMBEDS: the vector of its tokens, `values` long (realm_model_info_t).
  std::vector<float> embed(uint32_t values) {
    std::vector<float> vector(values);
    require(realm_seq_embed(handle_, vector.data(), values), "embedding");
    return vector;
  }
  uint32_t length() const { return static_cast<uint32_t>(require(realm_seq_length(handle_), "sequence")); }
  // Takes back the tokens from `position` on and bans some there.
  void reject(uint32_t position, const int32_t* banned, uint32_t count) {
    require(realm_seq_reject(handle_, position, banned, count), "reject");
  }
  // Which tokens may come at `position`: token i is bit (i % 8) of byte (i / 8), for the whole vocabulary.
  void mask(uint32_t position, const std::vector<uint8_t>& allowed) {
    require(realm_seq_mask(handle_, position, allowed.data(), static_cast<uint32_t>(allowed.size())), "mask");
  }
  // What probably comes next, at most 16 tokens: saves steps when it does.
  void guess(const std::vector<int32_t>& tokens) {
    require(realm_seq_guess(handle_, tokens.data(), static_cast<uint32_t>(tokens.size())), "guess");
  }
  // Adds tokens of the program's own choice. False when the context is full.
  bool push(const int32_t* tokens, uint32_t count) {
    const int32_t status = realm_seq_push(handle_, tokens, count);
    return status != REALM_CONTEXT_FULL && require(status, "push") >= 0;
  }
  // The likeliest tokens at `position`, that of the token taken last from a judged sequence; returns how many, 0 when unknown.
  uint32_t candidates(uint32_t position, int32_t* tokens, float* logprobs, uint32_t count) const {
    const int32_t found = realm_seq_candidates(handle_, position, tokens, count, logprobs, count);
    return found == REALM_NOT_FOUND ? 0 : static_cast<uint32_t>(require(found, "candidates"));
  }
  // The log-probability of one token there; minus infinity when unknown.
  float logprob(uint32_t position, int32_t token) const {
    float logprob = 0;
    const int32_t found = realm_seq_logprobs(handle_, position, &token, 1, &logprob, 1);
    return found == REALM_NOT_FOUND ? -__builtin_inff() : (require(found, "logprobs"), logprob);
  }
  // The raw logits there, one for each of the vocabulary's tokens; empty when unknown.
  std::vector<float> logits(uint32_t position, uint32_t vocabulary_tokens) const {
    std::vector<float> row(vocabulary_tokens);
    const int32_t count = realm_seq_logits(handle_, position, row.data(), vocabulary_tokens);
    if (count == REALM_NOT_FOUND) row.clear();
    return count == REALM_NOT_FOUND ? row : (require(count, "logits"), row);
  }
  realm_sequence_stats_t stats() const {
    realm_sequence_stats_t stats{};
    require(realm_seq_stats(handle_, &stats), "stats");
    return stats;
  }

 private:
  explicit Sequence(int32_t handle) : handle_(handle) {}
  int32_t handle_ = 0;
};

// Waits until `next` of at least one of the sequences would not have to wait, and returns the handles of all those.
inline std::vector<int32_t> next_any(const std::vector<int32_t>& handles) {
  std::vector<int32_t> ready(handles.size());
  const auto count = static_cast<uint32_t>(handles.size());
  ready.resize(static_cast<size_t>(require(realm_seq_next_any(handles.data(), count, ready.data(), count), "generation")));
  return ready;
}

// Where the item with the highest score is, the first of several; there must be one.
template <class Items, class Score>
size_t index_of_best(const Items& items, const Score& score) {
  size_t best = 0;
  for (size_t i = 1; i < items.size(); ++i) {
    if (score(items[i]) > score(items[best])) best = i;
  }
  return best;
}

// The next token of each, computed in the same steps; -1 where the context is full. `of` says where in an item its sequence is.
template <class Items, class Of>
std::vector<int32_t> next_of_each(Items& items, const Of& of) {
  std::vector<int32_t> tokens(items.size(), -1), open;
  for (auto& item : items) open.push_back(of(item).handle());
  while (!open.empty()) {
    for (const int32_t handle : next_any(open)) {
      std::erase(open, handle);
      for (size_t i = 0; i < items.size(); ++i) {
        if (of(items[i]).handle() == handle) tokens[i] = of(items[i]).next().value_or(-1);
      }
    }
  }
  return tokens;
}

}  // namespace realm
