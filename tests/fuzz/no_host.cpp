// Stands in for the host and for the sandbox's exceptions in natively compiled parts of realm.wasm: what ends an instance there is an
// exception here.
#include "fuzz/no_host.h"

#include <stdexcept>

#include "lib/exceptions.h"

namespace realm {

void set_throw_handler(ThrowHandler) {}
void end_by(const char* message) { throw std::runtime_error(message); }

}  // namespace realm

extern "C" {
int32_t realm_fail(uint32_t, const uint8_t*, uint32_t) { throw std::runtime_error("failed"); }
int32_t realm_restart(const uint8_t*, uint32_t) { throw std::runtime_error("restarted"); }
int32_t realm_restart_note(uint8_t*, uint32_t) { return 0; }
}
