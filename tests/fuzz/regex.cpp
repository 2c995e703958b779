// A regular expression.
#include "fuzz/constraint_walk.h"
#include "fuzz/fuzz_target.h"

REALM_FUZZ_TARGET(regex, bytes) {
  const auto compile = [&](std::string& problem) { return realm::Constraint::from_regex(bytes, problem); };
  realm::fuzz::compile_and_walk(bytes, compile, [](const std::string&) {});
}
