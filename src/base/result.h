// The first of Realm's two error channels: whatever input, a client, a file or a device can cause.
// The second, for our own bugs, is base/check.h.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace realm {

// A closed list. Callers decide by code; people read the message.
enum class ErrorCode {
  invalid_argument,  // a value outside its range; the message names it
  not_found,         // no such file, model, realm
  already_exists,
  permission_denied,
  context_exceeded,    // a prompt longer than the context
  resource_exhausted,  // a limit, memory or disk; trying again later may work
  too_large,           // does not fit, whatever else is given up
  deadline_exceeded,
  cancelled,
  corrupt,         // a file that is not what it claims to be
  unsupported,     // valid, but not by this build, model or machine
  unavailable,     // shutting down, device lost
  io,              // the operating system said no
  program_failed,  // a guest program trapped or gave up
};

std::string_view error_code_name(ErrorCode code);

// The message is one line for a person: what failed, which thing, what to do. It holds no customer text.
struct Error {
  ErrorCode code;
  std::string message;
};

template <class T = void>
using Result = std::expected<T, Error>;

// `return fail(ErrorCode::not_found, "model file /x.gguf: no such file");`
inline std::unexpected<Error> fail(ErrorCode code, std::string message) { return std::unexpected<Error>(Error{code, std::move(message)}); }

// Passes another function's error on: `if (!r) return fail(std::move(r));`
template <class T>
std::unexpected<Error> fail(Result<T>&& failed) {
  return std::unexpected<Error>(std::move(failed).error());
}

}  // namespace realm
