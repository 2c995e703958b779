// The tokens of an answer: as the model draws them, or held to a constraint.
#pragma once

#include <cstdint>
#include <vector>

#include "include/realm.hpp"
#include "realm/constraint.h"

namespace realm {

// A drawn token is looked at one by one. Where the constraint leaves little choice, a mask over the vocabulary is stated before the
// draw, while the model is still computing; where nearly anything may come, a token is checked after it was drawn, and only when it is
// refused is the mask made and the token drawn anew. Text without a choice is pushed as tokens and not drawn at all.
class TokenSource {
 public:
  // All outlive this; a null constraint lets everything through.
  TokenSource(Sequence& sequence, const Model& model, Constraint* constraint);

  // As Sequence::next: how many came, at most `room`; 0 at the end: of the answer, of the context, or where the constraint leads nowhere.
  uint32_t next(int32_t* tokens, uint32_t room);
  // The answer is whole, and nothing may follow.
  bool is_whole() { return constraint_ != nullptr && constraint_->matcher().must_end() && constraint_->matcher().may_end(); }

 private:
  uint32_t push_forced(int32_t* tokens, uint32_t room);
  bool state_mask(uint32_t position);
  bool accept(int32_t token);

  Sequence& sequence_;
  const Model& model_;
  Constraint* const constraint_;
  std::vector<uint8_t> vocabulary_;
  std::vector<uint8_t> mask_;
  std::string bytes_;
  bool drew_ = false;  // something is being computed ahead
};

}  // namespace realm
