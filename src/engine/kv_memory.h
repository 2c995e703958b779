// KV memory that is resident only as far as it is used.
//
// llama.cpp allocates the KV of all streams when a context is made and clears it, which would make every byte resident. The program
// is linked with --wrap for three functions of ggml (kv_memory.cpp): large buffers are mapped without reservation, and clearing one
// gives its pages back instead of writing zeros. docs/decisions/0003-lazily-resident-kv.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

struct llama_context;

namespace realm::engine {

// Buffers of at least this size are mapped lazily.
constexpr size_t lazy_mapping_bytes_min = 8u << 20;

struct LazyMapping {
  const void* base = nullptr;
  size_t bytes = 0;
  size_t resident_bytes = 0;
};

// The buffers that are mapped lazily: KV, and whatever else is large and in the memory of the host. Any thread; looks at every page.
std::vector<LazyMapping> lazy_mappings();

// Where the KV of each stream lies. Scheduler thread only; no longer than its context.
class KvMemory {
 public:
  explicit KvMemory(llama_context* context);

  // Of one token in one stream, all layers, keys and values.
  uint64_t bytes_per_token() const noexcept { return bytes_per_token_; }

  // Gives the pages of one stream back to the system. Its contents are lost; a later use finds zeros. Does nothing for KV that lies
  // on a device.
  void release(uint32_t stream) const noexcept;

 private:
  struct Region {
    std::byte* base;
    size_t stream_bytes;
  };
  void add_cache(const void* cache);
  std::vector<Region> regions_;
  uint64_t bytes_per_token_ = 0;
};

}  // namespace realm::engine
