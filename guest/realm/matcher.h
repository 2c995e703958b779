// Where an answer stands in its grammar, and what may come next.
//
// The states that the grammar may be in are a set of pairs of an automaton's state and a stack of rules to return to. Sets and the
// steps between them are remembered, so that nearly every byte costs one look-up; what is remembered is bounded and forgotten as a
// whole when it has grown too large.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "realm/grammar.h"

namespace realm {

constexpr uint32_t grammar_depth_max = 128;           // rules within rules that an answer may be in
constexpr uint32_t grammar_ways_max = 4'096;          // in which an answer may be read at one time
constexpr uint32_t remembered_steps_max = 2u << 20;   // 8 MiB
constexpr uint32_t remembered_places_max = 1u << 20;  // 8 MiB
constexpr uint32_t remembered_masks_max = 32;

class Matcher {
 public:
  // The grammar outlives this.
  explicit Matcher(const Grammar& grammar);

  // Could the answer go on with these bytes?
  bool accepts(std::string_view bytes);
  // Goes on with them; false, and nothing happens, when they are not accepted.
  bool advance(std::string_view bytes);
  bool may_end() const { return sets_[current_].may_end; }
  // Nothing can follow.
  bool must_end() const { return sets_[current_].count == 0; }
  // What must come next whatever the answer, at most `bytes_max`; empty when there is a choice. `ends`: nothing can follow it.
  std::string forced_text(size_t bytes_max, bool& ends);
  // More readings at once than grammar_ways_max: the grammar is too ambiguous, and nothing is accepted any more.
  bool gave_up() const { return gave_up_; }

  // Sets the bit of each token of the vocabulary (front-coded as `model_vocabulary` of the ABI has it) that is accepted here: bit
  // (id % 8) of byte (id / 8). Stays valid until the next call.
  const std::vector<uint8_t>& allowed_tokens(std::span<const uint8_t> vocabulary, uint32_t vocabulary_tokens);
  // A guess from a few texts: is much of what a model may say refused here?
  bool is_narrow();

 private:
  struct Place {
    uint32_t state, stack;
  };
  struct Frame {
    uint32_t return_state, parent, depth;
  };
  struct Set {
    uint32_t first, count;  // of places_
    bool may_end;
    int8_t narrow;  // -1: not known yet
  };
  static constexpr int32_t not_known = -2;
  static constexpr int32_t refused = -1;

  int32_t step(uint32_t set, uint8_t byte);
  uint32_t intern_set();  // of found_
  uint32_t push(uint32_t return_state, uint32_t parent);
  void close();  // todo_ and everything that follows without a byte, into found_
  void forget(std::span<uint32_t* const> kept);
  bool is_full() const { return steps_.size() > remembered_steps_max || places_.size() > remembered_places_max; }
  int32_t walk(uint32_t set, std::string_view bytes);

  const Grammar& grammar_;
  uint8_t class_of_[256];  // bytes that no edge of the grammar tells apart
  uint32_t classes_ = 0;

  std::vector<Frame> frames_;
  std::unordered_map<uint64_t, uint32_t> frame_ids_;
  std::vector<Place> places_;
  std::vector<Set> sets_;
  std::vector<int32_t> steps_;  // by set and class of byte
  std::unordered_multimap<uint64_t, uint32_t> set_ids_;
  std::unordered_map<uint32_t, std::vector<uint8_t>> masks_;
  uint32_t current_ = 0;
  bool gave_up_ = false;

  std::vector<Place> todo_, found_;
  bool found_end_ = false;
  std::unordered_set<uint64_t> seen_;
};

}  // namespace realm
