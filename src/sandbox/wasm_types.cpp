#include "sandbox/wasm_types.h"

#include <algorithm>

namespace realm::sandbox {

std::string innermost_cause(std::string_view text) {
  constexpr std::string_view marker = "Caused by:";
  if (const auto at = text.rfind(marker); at != std::string_view::npos) text.remove_prefix(at + marker.size());
  // Several causes are numbered lines, the innermost last.
  std::string_view last;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto begin = line.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) continue;
    line.remove_prefix(begin);
    const auto colon = line.find(": ");
    if (colon != std::string_view::npos && line.substr(0, colon).find_first_not_of("0123456789") == std::string_view::npos) {
      line.remove_prefix(colon + 2);
    }
    last = line;
  }
  return std::string(last.substr(0, 512));
}

namespace {
std::string take(wasm_byte_vec_t& bytes) {
  std::string_view text(bytes.data, bytes.size);
  while (!text.empty() && text.back() == '\0') text.remove_suffix(1);
  std::string line = innermost_cause(text);
  wasm_byte_vec_delete(&bytes);
  return line;
}
}  // namespace

std::string message_of(const wasmtime_error_t& error) {
  wasm_byte_vec_t bytes;
  wasmtime_error_message(&error, &bytes);
  return take(bytes);
}

std::string message_of(const wasm_trap_t& trap) {
  wasm_byte_vec_t bytes;
  wasm_trap_message(&trap, &bytes);
  return take(bytes);
}

}  // namespace realm::sandbox
