// Text of strangers, before it stands in a message of ours.
#pragma once

#include <string>
#include <string_view>

namespace realm {

// The text with U+FFFD in place of each byte that belongs to no character.
std::string valid_utf8(std::string_view text);

}  // namespace realm
