#include "engine/large_stack.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <vector>

namespace realm::engine {
namespace {

constexpr size_t page_bytes = 4096;
constexpr size_t guard_bytes = 64 * page_bytes;
constexpr size_t stack_bytes_min = 256 * page_bytes;

void* call(void* task) {
  (*static_cast<const std::function<void()>*>(task))();
  return nullptr;
}

bool run_on(void* stack, size_t bytes, const std::function<void()>& task) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_t thread{};
  const bool started = pthread_attr_setstack(&attributes, stack, bytes) == 0 &&
                       pthread_create(&thread, &attributes, call, const_cast<std::function<void()>*>(&task)) == 0;
  pthread_attr_destroy(&attributes);
  if (started) pthread_join(thread, nullptr);
  return started;
}

size_t resident_bytes(void* base, size_t bytes) {
  std::vector<unsigned char> pages(bytes / page_bytes);
  if (mincore(base, bytes, pages.data()) != 0) return page_bytes;
  return page_bytes * static_cast<size_t>(std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; }));
}

}  // namespace

size_t run_on_large_stack(size_t bytes, const std::function<void()>& task) {
  bytes = std::max(stack_bytes_min, (bytes + page_bytes - 1) / page_bytes * page_bytes);
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK;
  void* mapping = mmap(nullptr, guard_bytes + bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (mapping == MAP_FAILED) return 0;
  void* stack = static_cast<std::byte*>(mapping) + guard_bytes;
  const bool ran = mprotect(mapping, guard_bytes, PROT_NONE) == 0 && run_on(stack, bytes, task);
  const size_t used = ran ? resident_bytes(stack, bytes) : 0;
  munmap(mapping, guard_bytes + bytes);
  return used;
}

}  // namespace realm::engine
