#include "engine/kv_memory.h"

#include <ggml-backend.h>
#include <ggml.h>
#include <llama.h>
#include <sys/mman.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "llama-kv-cache-iswa.h"
#include "llama-kv-cache.h"
#include "llama-memory-hybrid-iswa.h"
#include "llama-memory-hybrid.h"

namespace realm::engine {
namespace {

constexpr size_t page_bytes = 4096;

// Lazily mapped buffers by address. Touched when a model or context is made or freed, never per token.
struct LazyMappings {
  std::mutex mutex;
  std::unordered_map<void*, size_t> bytes_by_base;

  static LazyMappings& instance() {
    static auto* mappings = new LazyMappings;  // outlives every static destructor that frees a buffer
    return *mappings;
  }
  void* map(size_t bytes) {
    void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return nullptr;
    std::lock_guard lock(mutex);
    bytes_by_base.emplace(base, bytes);
    return base;
  }
  bool unmap(void* base) {
    std::lock_guard lock(mutex);
    const auto found = bytes_by_base.find(base);
    if (found == bytes_by_base.end()) return false;
    munmap(base, found->second);
    bytes_by_base.erase(found);
    return true;
  }
  bool contains(void* base) {
    std::lock_guard lock(mutex);
    return bytes_by_base.contains(base);
  }
};

size_t resident_bytes(void* base, size_t bytes) {
  std::vector<unsigned char> pages((bytes + page_bytes - 1) / page_bytes);
  if (mincore(base, bytes, pages.data()) != 0) return 0;
  return page_bytes * static_cast<size_t>(std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; }));
}

void release_pages(std::byte* base, size_t bytes) noexcept {
  const auto begin = (reinterpret_cast<uintptr_t>(base) + page_bytes - 1) & ~(page_bytes - 1);
  const auto end = (reinterpret_cast<uintptr_t>(base) + bytes) & ~(page_bytes - 1);
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace
}  // namespace realm::engine

// The linker sends ggml's calls of these here (--wrap); __real_ is the original.
extern "C" {
void* __real_ggml_aligned_malloc(size_t size);
void __real_ggml_aligned_free(void* pointer, size_t size);
void __real_ggml_backend_buffer_clear(ggml_backend_buffer_t buffer, uint8_t value);

void* __wrap_ggml_aligned_malloc(size_t size) {
  using namespace realm::engine;
  if (size < lazy_mapping_bytes_min) return __real_ggml_aligned_malloc(size);
  return LazyMappings::instance().map(size);
}

void __wrap_ggml_aligned_free(void* pointer, size_t size) {
  if (pointer != nullptr && !realm::engine::LazyMappings::instance().unmap(pointer)) __real_ggml_aligned_free(pointer, size);
}

void __wrap_ggml_backend_buffer_clear(ggml_backend_buffer_t buffer, uint8_t value) {
  using namespace realm::engine;
  const bool on_host = ggml_backend_buffer_is_host(buffer);
  void* base = on_host && ggml_backend_buffer_get_size(buffer) > 0 ? ggml_backend_buffer_get_base(buffer) : nullptr;
  if (value == 0 && base != nullptr && LazyMappings::instance().contains(base)) {
    const size_t bytes = ggml_backend_buffer_get_size(buffer);
    // The streams of a layer lie side by side: a huge page would make megabytes of several of them resident for one token.
    madvise(base, bytes, MADV_NOHUGEPAGE);
    madvise(base, bytes, MADV_DONTNEED);
    return;
  }
  __real_ggml_backend_buffer_clear(buffer, value);
}
}

namespace realm::engine {

std::vector<LazyMapping> lazy_mappings() {
  LazyMappings& mappings = LazyMappings::instance();
  std::lock_guard lock(mappings.mutex);
  std::vector<LazyMapping> found;
  for (const auto& [base, bytes] : mappings.bytes_by_base) found.push_back({base, bytes, resident_bytes(base, bytes)});
  return found;
}

KvMemory::KvMemory(llama_context* context) {
  auto* memory = llama_get_memory(context);
  if (auto* plain = dynamic_cast<llama_kv_cache*>(memory)) {
    add_cache(plain);
  } else if (auto* windowed = dynamic_cast<llama_kv_cache_iswa*>(memory)) {
    add_cache(windowed->get_base());
    add_cache(windowed->get_swa());
  } else if (auto* hybrid = dynamic_cast<llama_memory_hybrid*>(memory)) {
    add_cache(hybrid->get_mem_attn());
  } else if (auto* both = dynamic_cast<llama_memory_hybrid_iswa*>(memory)) {
    add_cache(both->get_mem_attn()->get_base());
    add_cache(both->get_mem_attn()->get_swa());
  }
}

void KvMemory::add_cache(const void* opaque) {
  const auto& cache = *static_cast<const llama_kv_cache*>(opaque);
  ggml_init_params params{.mem_size = 4 * ggml_tensor_overhead(), .mem_buffer = nullptr, .no_alloc = true};
  const auto layers = cache.get_layer_ids();
  for (const uint32_t layer : layers) {
    ggml_tensor* keys = cache.get_k_storage(static_cast<int32_t>(layer));
    // The values are reached only through a view, made in a throw-away context.
    ggml_context* scratch = ggml_init(params);
    llama_kv_cache::slot_info first_stream{.s0 = 0, .s1 = 0, .strm = {0}, .idxs = {{0}}};
    ggml_tensor* values = cache.get_v(scratch, static_cast<int32_t>(layer), 1, first_stream)->view_src;
    ggml_free(scratch);
    for (ggml_tensor* tensor : {keys, values}) {
      if (tensor == nullptr) continue;
      bytes_per_token_ += tensor->nb[2] / cache.get_size();
      if (tensor->buffer != nullptr && ggml_backend_buffer_is_host(tensor->buffer)) {
        regions_.push_back({static_cast<std::byte*>(tensor->data), tensor->nb[2]});
      }
    }
  }
}

void KvMemory::release(uint32_t stream) const noexcept {
  for (const Region& region : regions_) release_pages(region.base + stream * region.stream_bytes, region.stream_bytes);
}

}  // namespace realm::engine
