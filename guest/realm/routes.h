// Which protocol answers which route.
#pragma once

#include <string>

namespace realm {

// Answers the request of this instance, which came in by `route`.
void answer_route(const std::string& route);

}  // namespace realm
