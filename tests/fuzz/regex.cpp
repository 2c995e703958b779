// A regular expression.
#include "fuzz/constraint_walk.h"
#include "fuzz/fuzz_target.h"

REALM_FUZZ_TARGET(regex, bytes) {
  std::string problem;
  const auto constraint = realm::Constraint::from_regex(bytes, problem);
  REALM_CHECK((constraint == nullptr) == !problem.empty());
  if (constraint == nullptr) return;
  realm::fuzz::Choices choices(bytes);
  realm::fuzz::walk(*constraint, choices, [](const std::string&) {});
}
