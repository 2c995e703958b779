// Memory for saved KV, within a budget, reused so that saving a sequence does not fault fresh pages in. Scheduler thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace realm::engine {

class StateStore;

// The saved KV of one stream. Gives its memory back to its store, which must outlive it.
class SavedState {
 public:
  SavedState() = default;
  SavedState(SavedState&& other) noexcept;
  SavedState& operator=(SavedState&& other) noexcept;
  ~SavedState();
  std::span<uint8_t> bytes() const noexcept { return {block_.get(), size_}; }
  explicit operator bool() const noexcept { return block_ != nullptr; }

 private:
  friend class StateStore;
  StateStore* store_ = nullptr;
  std::unique_ptr<uint8_t[]> block_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

class StateStore {
 public:
  explicit StateStore(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  // Empty when the budget or the memory does not hold it; the caller may give something up and ask again.
  SavedState allocate(size_t bytes);
  uint64_t bytes_used() const noexcept { return bytes_used_; }
  uint64_t bytes_max() const noexcept { return bytes_max_; }

 private:
  friend class SavedState;
  static constexpr size_t block_bytes_min = 256u << 10;  // sizes are rounded up to a multiple of this
  static constexpr size_t free_bytes_max = 16u << 20;    // kept for reuse
  void give_back(std::unique_ptr<uint8_t[]> block, size_t capacity) noexcept;

  struct FreeBlock {
    std::unique_ptr<uint8_t[]> block;
    size_t capacity;
  };
  std::vector<FreeBlock> free_;
  uint64_t free_bytes_ = 0;
  uint64_t bytes_used_ = 0;
  uint64_t bytes_max_;
};

}  // namespace realm::engine
