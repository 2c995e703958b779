// Every bound of the HTTP server, with its default.
#pragma once

#include <cstdint>

namespace realm::http {

struct HttpLimits {
  uint32_t connections_max = 8'192;               // one more is closed at once
  uint32_t header_bytes_max = 16u << 10;          // 431
  uint64_t body_bytes_max = 4ull << 20;           // 413; a realm may have a smaller bound of its own
  uint32_t uploads_max = 16;                      // programs whose bodies are read and compiled at once: 429
  uint32_t uploads_of_realm_max = 2;              // of those, of one realm
  uint32_t head_timeout_ms = 10'000;              // from the first byte of a request to the end of its header: 408
  uint32_t body_timeout_ms = 30'000;              // whole body: 408
  uint32_t idle_timeout_ms = 75'000;              // between requests of a connection: closed
  uint32_t write_timeout_ms = 30'000;             // a reader that takes nothing for so long is dropped
  uint32_t stream_buffer_bytes_max = 256u << 10;  // events waiting for a slow reader; a full buffer suspends the program
  uint64_t response_bytes_max = 64ull << 20;      // of a body that is not streamed, or of one event
  uint32_t drain_timeout_ms = 30'000;             // SIGTERM: running answers may go on for so long
};

}  // namespace realm::http
