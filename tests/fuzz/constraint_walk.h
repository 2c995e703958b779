// An answer made up under a constraint, some bytes of it.
#pragma once

#include <string>
#include <string_view>

#include "base/check.h"
#include "fuzz/fuzz_choices.h"
#include "realm/constraint.h"

namespace realm::fuzz {

constexpr int steps_max = 96;

// What is forced must be accepted, and a byte that is accepted must be taken. `at_end(text)`: it may end there.
template <class AtEnd>
void walk(Constraint& constraint, Choices& choices, const AtEnd& at_end) {
  Matcher& matcher = constraint.matcher();
  std::string answer;
  for (int i = 0; i < steps_max; ++i) {
    if (matcher.may_end()) at_end(answer);
    if (matcher.must_end() || matcher.gave_up()) return;
    std::string next = constraint.forced_text();
    if (next.empty()) {
      const uint32_t first = choices.below(256);
      for (uint32_t k = 0; k < 256 && next.empty(); ++k) {
        const char byte = static_cast<char>(k < 4 ? choices.below(95) + 32 : first + k);
        if (matcher.accepts({&byte, 1})) next = byte;
      }
      if (next.empty()) return;
    }
    const bool taken = matcher.advance(next);
    REALM_CHECK(taken || matcher.gave_up());
    answer += next;
  }
}

// The same for what `compile(problem)` makes of the bytes: a constraint, or nothing and a problem.
template <class Compile, class AtEnd>
void compile_and_walk(std::string_view bytes, const Compile& compile, const AtEnd& at_end) {
  std::string problem;
  const auto constraint = compile(problem);
  REALM_CHECK((constraint == nullptr) == !problem.empty());
  if (constraint == nullptr) return;
  Choices choices(bytes);
  walk(*constraint, choices, at_end);
}

}  // namespace realm::fuzz
