// Errors that the host itself answers with, in the shape of the protocol that the client speaks. What a program finds wrong with a
// request it says itself.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"

namespace realm::http {

struct Problem {
  uint16_t status = 500;
  std::string code;     // machine-readable, such as "rate_limit_exceeded"
  std::string message;  // for a person: what, which, what to do. No customer text
  uint32_t retry_after_s = 0;
  HeaderList headers = {};
  std::string param = {};  // the field that is wrong; empty: none
};

// The status and code for an error of the layers below.
Problem problem_of(const Error& error);

// Status, body and headers in the protocol's own shape. The request id is in the body where the protocol has a place for it.
Response problem_response(Protocol protocol, const Problem& problem, std::string_view request_id);

// The data of an event that ends a stream which has begun already.
std::string problem_event(Protocol protocol, const Problem& problem, std::string_view request_id);

}  // namespace realm::http
