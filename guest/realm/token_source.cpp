#include "realm/token_source.h"

#include <algorithm>

namespace realm {
namespace {

constexpr size_t forced_tokens_min = 2;  // fewer are not worth the step that is running

}  // namespace

TokenSource::TokenSource(Sequence& sequence, const Model& model, Constraint* constraint)
    : sequence_(sequence), model_(model), constraint_(constraint) {
  if (constraint_ != nullptr) vocabulary_ = model_.vocabulary();
}

uint32_t TokenSource::next(int32_t* tokens, uint32_t room) {
  if (constraint_ == nullptr) return sequence_.next(tokens, room);
  if (is_whole()) return 0;
  if (const uint32_t pushed = push_forced(tokens, room)) return pushed;
  const uint32_t position = sequence_.length();
  bool masked = constraint_->matcher().is_narrow();
  if (masked && !state_mask(position)) return 0;
  drew_ = true;
  while (true) {
    if (sequence_.next(tokens, 1) == 0) return 0;
    if (accept(tokens[0])) return 1;
    if (masked || !state_mask(position)) return 0;
    masked = true;
  }
}

// Only when the tokenizer gives these tokens back as the same bytes: some put a space before a text.
uint32_t TokenSource::push_forced(int32_t* tokens, uint32_t room) {
  const std::string text = constraint_->forced_text();
  if (text.empty()) return 0;
  const std::vector<int32_t> forced = model_.tokenize(text, 0);
  if (forced.empty() || (drew_ && forced.size() < forced_tokens_min)) return 0;
  const uint32_t count = std::min(static_cast<uint32_t>(forced.size()), room);
  bytes_.clear();
  model_.append_text(forced.data(), static_cast<uint32_t>(forced.size()), 0, bytes_);
  if (bytes_ != text || !sequence_.push(forced.data(), count)) return 0;
  bytes_.clear();
  model_.append_text(forced.data(), count, 0, bytes_);
  constraint_->matcher().advance(bytes_);
  std::copy_n(forced.begin(), count, tokens);
  return count;
}

// False when no token can come next.
bool TokenSource::state_mask(uint32_t position) {
  Matcher& matcher = constraint_->matcher();
  mask_ = matcher.allowed_tokens(vocabulary_, model_.info().vocabulary_tokens);
  if (matcher.gave_up()) fail(REALM_FAIL_BAD_REQUEST, "the form of the answer can be read in too many ways at once");
  if (matcher.may_end()) {
    for (const int32_t token : {model_.info().eos_token, model_.info().eot_token}) {
      if (token >= 0) mask_[static_cast<size_t>(token) / 8] |= static_cast<uint8_t>(1u << (token % 8));
    }
  }
  if (std::all_of(mask_.begin(), mask_.end(), [](uint8_t bits) { return bits == 0; })) return false;
  sequence_.mask(position, mask_);
  return true;
}

bool TokenSource::accept(int32_t token) {
  Matcher& matcher = constraint_->matcher();
  if (model_.ends_generation(token)) return matcher.may_end();
  bytes_.clear();
  model_.append_text(&token, 1, 0, bytes_);
  return !bytes_.empty() && matcher.advance(bytes_);
}

}  // namespace realm
