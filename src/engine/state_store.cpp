#include "engine/state_store.h"

#include <algorithm>
#include <new>
#include <utility>

namespace realm::engine {

SavedState::SavedState(SavedState&& other) noexcept { *this = std::move(other); }

SavedState& SavedState::operator=(SavedState&& other) noexcept {
  if (this == &other) return *this;
  if (block_) store_->give_back(std::move(block_), capacity_);
  store_ = other.store_;
  block_ = std::move(other.block_);
  size_ = std::exchange(other.size_, 0);
  capacity_ = std::exchange(other.capacity_, 0);
  return *this;
}

SavedState::~SavedState() {
  if (block_) store_->give_back(std::move(block_), capacity_);
}

SavedState StateStore::allocate(size_t bytes) {
  const size_t capacity = (bytes + block_bytes_min - 1) / block_bytes_min * block_bytes_min;
  SavedState state;
  if (bytes == 0 || capacity > bytes_max_ || bytes_used_ > bytes_max_ - capacity) return state;
  // The smallest free block that fits without wasting more than it holds.
  auto best = free_.end();
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->capacity >= capacity && it->capacity <= 2 * capacity && bytes_used_ + it->capacity <= bytes_max_ &&
        (best == free_.end() || it->capacity < best->capacity)) {
      best = it;
    }
  }
  if (best != free_.end()) {
    state.block_ = std::move(best->block);
    state.capacity_ = best->capacity;
    free_bytes_ -= best->capacity;
    std::swap(*best, free_.back());
    free_.pop_back();
  } else {
    state.block_.reset(new (std::nothrow) uint8_t[capacity]);
    if (!state.block_) return state;
    state.capacity_ = capacity;
  }
  state.store_ = this;
  state.size_ = bytes;
  bytes_used_ += state.capacity_;
  return state;
}

void StateStore::give_back(std::unique_ptr<uint8_t[]> block, size_t capacity) noexcept {
  bytes_used_ -= capacity;
  if (free_bytes_ + capacity > free_bytes_max) return;
  free_bytes_ += capacity;
  free_.push_back({std::move(block), capacity});
}

}  // namespace realm::engine
