// A JSON Schema, turned into a grammar. An answer that may end is JSON.
#include "fuzz/constraint_walk.h"
#include "fuzz/fuzz_target.h"
#include "realm/json_fields.h"

REALM_FUZZ_TARGET(schema, bytes) {
  using namespace realm;
  common_json object, parsed;
  if (parse_object(std::string(bytes), object)) return;
  const auto compile = [&](std::string& problem) { return Constraint::from_schema(object, problem); };
  fuzz::compile_and_walk(bytes, compile,
                         [](const std::string& answer) { REALM_CHECK(!common_json::parse_no_throw(answer).is_discarded()); });
}
