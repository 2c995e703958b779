// How answers of the host become answers of the program ABI. Internal to the runtime.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>

#include "abi/realm_abi.h"
#include "base/result.h"
#include "engine/sequence.h"

namespace realm::runtime {

inline std::string_view as_text(std::span<const uint8_t> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// Copies the answer when all of it fits; returns its length either way.
template <class T, class From>
int32_t fill(std::span<T> destination, const From& answer) {
  if (answer.size() <= destination.size()) std::copy(answer.begin(), answer.end(), destination.begin());
  return static_cast<int32_t>(answer.size());
}

int32_t status_of(engine::SequenceStatus status);
int32_t status_of(const Error& error);

}  // namespace realm::runtime
