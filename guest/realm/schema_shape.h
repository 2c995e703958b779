// Whether a JSON Schema is written as one.
#pragma once

#include <string>

#include "json.h"

namespace realm {

// What is wrong with the keywords of one schema object (not of those within it), or names a keyword that is not supported; else empty.
std::string problem_of_shape(const common_json& schema);

}  // namespace realm
