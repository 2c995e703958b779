// Where the values are that programs keep for later requests of their realm.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace realm::runtime {

constexpr uint32_t store_key_bytes_max = 128;
constexpr uint32_t store_value_bytes_max = 1u << 20;

class DurableStore {
 public:
  virtual ~DurableStore() = default;

  template <class T>
  using Done = std::function<void(Result<T>)>;

  // All of these call `done` exactly once, now or later, on any thread. unavailable: too much waits already, or the storage fails.
  virtual void get(std::string tenant_id, std::string key, Done<std::string> done) = 0;  // not_found
  // Durable when `done` is called. An empty value: what has the key goes. resource_exhausted: the realm would have more than bytes_max.
  virtual void put(std::string tenant_id, std::string key, std::string value, uint64_t bytes_max, Done<void> done) = 0;
  virtual void list(std::string tenant_id, std::string prefix, Done<std::vector<std::string>> done) = 0;  // keys, in order of bytes
};

}  // namespace realm::runtime
