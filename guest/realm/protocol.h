// How a request that came in by a route is answered: bodies, events and errors in the shape of its protocol.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "include/realm.hpp"
#include "json.h"
#include "realm/generation.h"
#include "realm/json_fields.h"

namespace realm {

enum class Protocol : uint8_t { openai, anthropic };

// From here on whatever fails is answered in this protocol's shape.
void speak(Protocol protocol);

// Answers with an error and leaves the instance. `param` is the field, empty when it is none.
[[noreturn]] void refuse(uint32_t status, std::string_view code, std::string_view message, std::string_view param = {});

// A field's problem, whose message begins with the field: 400. Does nothing without one.
void refuse_if(const Problem& problem);

// The whole answer.
void reply(const common_json& body);

// One event of a stream. The first one begins the answer.
void send_event(std::string_view name, const common_json& data);
void send_event(std::string_view name, std::string_view data);

std::string request_id();
int64_t unix_seconds();
std::string random_id(std::string_view prefix);  // 24 random characters after it

// llama-server's extension beside `usage`.
common_json timings(const Usage& usage);

}  // namespace realm
