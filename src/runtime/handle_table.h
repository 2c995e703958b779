// The handles of one instance: positive 32-bit numbers that a guest may forge, keep too long, or mix up, to no effect.
//
// A handle holds its slot, the kind of thing and a generation that changes whenever the slot is used again, so a stale, foreign or
// guessed number looks like one that never existed. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

namespace realm::runtime {

template <class... Kinds>
class HandleTable {
 public:
  explicit HandleTable(uint32_t handles_max) : handles_max_(handles_max < slots_max ? handles_max : slots_max) {}

  // nullopt when handles_max are open.
  template <class T>
  std::optional<int32_t> insert(T value) {
    uint32_t index = 0;
    if (!free_.empty()) {
      index = free_.back();
      free_.pop_back();
    } else {
      if (slots_.size() >= handles_max_) return std::nullopt;
      index = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    }
    Slot& slot = slots_[index];
    slot.value = std::move(value);
    return encode(index, slot);
  }

  // Null for anything but a live handle of this kind. Valid until the next insert or erase.
  template <class T>
  T* find(int32_t handle) {
    const auto index = static_cast<uint32_t>(handle) & index_mask;
    if (handle <= 0 || index >= slots_.size() || encode(index, slots_[index]) != handle) return nullptr;
    return std::get_if<T>(&slots_[index].value);
  }

  template <class T>
  bool erase(int32_t handle) {
    if (find<T>(handle) == nullptr) return false;
    const auto index = static_cast<uint32_t>(handle) & index_mask;
    slots_[index].value = std::monostate{};
    slots_[index].generation = (slots_[index].generation + 1) & generation_mask;
    // A slot whose generations are used up is never used again.
    if (slots_[index].generation != 0) free_.push_back(index);
    return true;
  }

  template <class T, class Visit>
  void for_each(Visit visit) const {
    for (const Slot& slot : slots_) {
      if (const T* value = std::get_if<T>(&slot.value)) visit(*value);
    }
  }

  void clear() {
    slots_.clear();
    free_.clear();
  }

 private:
  static constexpr uint32_t index_bits = 12;
  static constexpr uint32_t kind_bits = 3;
  static constexpr uint32_t slots_max = 1u << index_bits;
  static constexpr uint32_t index_mask = slots_max - 1;
  static constexpr uint32_t generation_mask = (1u << (31 - index_bits - kind_bits)) - 1;
  static_assert(sizeof...(Kinds) < (1u << kind_bits));

  struct Slot {
    std::variant<std::monostate, Kinds...> value;
    uint32_t generation = 1;
  };

  static int32_t encode(uint32_t index, const Slot& slot) {
    return static_cast<int32_t>(slot.generation << (index_bits + kind_bits) | static_cast<uint32_t>(slot.value.index()) << index_bits |
                                index);
  }

  uint32_t handles_max_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace realm::runtime
