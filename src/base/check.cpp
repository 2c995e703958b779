#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace realm {

void check_failed(const char* condition, const char* file, int line) noexcept {
  std::fprintf(stderr, "realm: internal check failed at %s:%d: %s\n", file, line, condition);
  std::abort();
}

}  // namespace realm
