// The second error channel: a broken invariant of our own. It ends the process, so nothing that a client, a guest, a file or a
// device can cause may reach it; those return a Result.
#pragma once

namespace realm {

[[noreturn]] void check_failed(const char* condition, const char* file, int line) noexcept;

}  // namespace realm

#define REALM_CHECK(condition)                               \
  do {                                                       \
    if (!(condition)) [[unlikely]]                           \
      ::realm::check_failed(#condition, __FILE__, __LINE__); \
  } while (false)
