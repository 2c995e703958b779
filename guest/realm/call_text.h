// Pieces of text that calls are written in.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "json.h"

namespace realm {

constexpr std::string_view spaces = " \t\r\n";

std::string_view trimmed(std::string_view text);

// What is inside a code block that the text consists of, or the text.
std::string_view without_code_block(std::string_view text);

// The JSON object or list that the text begins with: how long it is. 0: there is none, or it is not complete.
size_t json_length(std::string_view text);

// Takes `prefix` off the text. False when it does not begin with it.
bool take(std::string_view& text, std::string_view prefix);

// Takes what comes before `end`, and `end`, off the text. Nothing when there is no `end`.
std::optional<std::string_view> take_until(std::string_view& text, std::string_view end);

// Takes a value written as in Python, or as in JSON, off the text: strings in either quotes, numbers, lists, dicts, True, False, None.
std::optional<common_json> take_python_value(std::string_view& text);

// Takes a value as Gemma writes it off the text: strings between <|"|>, keys bare, the rest as in JSON.
std::optional<common_json> take_gemma_value(std::string_view& text);

}  // namespace realm
