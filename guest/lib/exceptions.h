// C++ exceptions in a sandbox that cannot catch them.
#pragma once

namespace realm {

// Called with the exception's message before the instance ends. It may end the instance in its own way, or return.
using ThrowHandler = void (*)(const char* message);
void set_throw_handler(ThrowHandler handler);

// Ends the instance as a throw with this message does.
[[noreturn]] void end_by(const char* message);

}  // namespace realm
