// A WebAssembly module's binary format, as far as a snapshot changes it (WebAssembly Core Specification 2.0, chapter 5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace realm::snapshot {

using Bytes = std::vector<uint8_t>;

constexpr size_t page_bytes = 65'536;

// The module with `memory` as what its first memory holds from the start, and without the exports in `dropped`. Throws std::runtime_error
// when the module is not of the plain kind that a linker makes: one memory, data only in active segments, no start function.
Bytes with_memory(std::span<const uint8_t> module, std::span<const uint8_t> memory, std::span<const std::string> dropped);

}  // namespace realm::snapshot
