// Turns a typed C++ method into a host function that a guest can import.
//
// A method takes HostCall& and then the function's arguments:
//   int32_t, uint32_t, int64_t, uint64_t, float   by value
//   std::span<const T>, std::span<T>              a guest pointer followed by an element count
//   const S&, S&  (S a struct)                    a guest pointer to one S
// Every pointer is checked against the caller's memory (bounds without wrap, natural alignment) before the method runs; a bad one
// makes the call return `fault_status` and the method is not called. Ranges may overlap.
//
// A method that never waits returns int32_t or int64_t. One that may suspend returns std::optional<int32_t>: nullopt means "not
// yet", having stored call.waker() somewhere; it is then called again with the same arguments after a wake.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "sandbox/host_call.h"

namespace realm::sandbox {

enum class ValueKind : uint8_t { i32, i64, f32, pointer, none };

// One argument or result as it crosses the border. A pointer is 32 bits wide for a wasm32 guest, 64 for a memory64 one.
union RawValue {
  int32_t i32;
  int64_t i64;
  float f32;
  uint64_t pointer;
};

struct HostFunction {
  std::string module;
  std::string name;
  std::vector<ValueKind> parameters;
  ValueKind result = ValueKind::i32;
  bool may_suspend = false;
  // `arguments` has parameters.size() values, pointers zero-extended. nullopt: suspend (only with may_suspend).
  std::optional<RawValue> (*invoke)(HostCall& call, const RawValue* arguments) = nullptr;
};

namespace detail {

template <class T>
struct Lowered;  // how one C++ parameter crosses the border

template <class T>
requires(std::integral<T> || std::floating_point<T>) struct Lowered<T> {
  static constexpr size_t width = 1;
  static constexpr std::array<ValueKind, 1> kinds{std::floating_point<T> ? ValueKind::f32
                                                  : sizeof(T) == 8       ? ValueKind::i64
                                                                         : ValueKind::i32};
};
template <class T>
struct Lowered<std::span<T>> {
  static constexpr size_t width = 2;
  static constexpr std::array<ValueKind, 2> kinds{ValueKind::pointer, ValueKind::i32};
};
template <class T>
requires std::is_class_v<std::remove_const_t<T>>
struct Lowered<T&> {
  static constexpr size_t width = 1;
  static constexpr std::array<ValueKind, 1> kinds{ValueKind::pointer};
};
// Parameters as the ABI table declares them, in C.
template <class T>
struct Lowered<T*> {
  static constexpr size_t width = 1;
  static constexpr std::array<ValueKind, 1> kinds{ValueKind::pointer};
};

template <class... A>
constexpr auto lowered_kinds() {
  constexpr size_t total = (size_t{0} + ... + Lowered<A>::width);
  std::array<ValueKind, total> kinds{};
  [[maybe_unused]] size_t at = 0;
  (([&] {
     for (ValueKind kind : Lowered<A>::kinds) kinds[at++] = kind;
   }()),
   ...);
  return kinds;
}

// True when [pointer, pointer + count * size) lies in memory and is aligned.
inline bool in_memory(std::span<uint8_t> memory, uint64_t pointer, uint64_t count, size_t size, size_t alignment) noexcept {
  if (count > memory.size() / size) return false;
  const uint64_t bytes = count * size;
  return pointer <= memory.size() - bytes && pointer % alignment == 0;
}

// A parameter between the check and the call: where it lies in the guest, or its value.
template <class T>
struct Slot {
  T value{};
  bool take(std::span<uint8_t>, const RawValue*& raw) noexcept {
    if constexpr (std::floating_point<T>)
      value = raw->f32;
    else if constexpr (sizeof(T) == 8)
      value = static_cast<T>(raw->i64);
    else
      value = static_cast<T>(raw->i32);
    ++raw;
    return true;
  }
  T get() const noexcept { return value; }
};
template <class T>
struct Slot<std::span<T>> {
  std::span<T> value;
  bool take(std::span<uint8_t> memory, const RawValue*& raw) noexcept {
    const uint64_t pointer = raw[0].pointer;
    const uint64_t count = static_cast<uint32_t>(raw[1].i32);
    raw += 2;
    if (!in_memory(memory, pointer, count, sizeof(T), alignof(T))) return false;
    value = {reinterpret_cast<T*>(memory.data() + pointer), static_cast<size_t>(count)};
    return true;
  }
  std::span<T> get() const noexcept { return value; }
};
template <class T>
struct Slot<T&> {
  T* value = nullptr;
  bool take(std::span<uint8_t> memory, const RawValue*& raw) noexcept {
    const uint64_t pointer = raw->pointer;
    ++raw;
    if (!in_memory(memory, pointer, 1, sizeof(T), alignof(T))) return false;
    value = reinterpret_cast<T*>(memory.data() + pointer);
    return true;
  }
  T& get() const noexcept { return *value; }
};

template <class R>
constexpr ValueKind result_kind() {
  if constexpr (std::is_same_v<R, int64_t>)
    return ValueKind::i64;
  else
    return ValueKind::i32;
}
template <class R>
inline std::optional<RawValue> raw_result(const R& result) {
  if constexpr (std::is_same_v<R, std::optional<int32_t>>) {
    if (!result) return std::nullopt;
    return RawValue{.i32 = *result};
  } else if constexpr (std::is_same_v<R, int64_t>) {
    return RawValue{.i64 = result};
  } else {
    return RawValue{.i32 = result};
  }
}

template <auto Method, class Declared, int32_t FaultStatus>
struct Bind;

template <class Host, class R, class... A, R (Host::*Method)(HostCall&, A...), class DR, class... DA, int32_t FaultStatus>
struct Bind<Method, DR(DA...), FaultStatus> {
  static_assert(lowered_kinds<A...>() == lowered_kinds<DA...>(), "the method's parameters differ from the ABI table's");
  static_assert(result_kind<R>() == result_kind<DR>(), "the method's result differs from the ABI table's");
  static constexpr bool may_suspend = std::is_same_v<R, std::optional<int32_t>>;

  static std::optional<RawValue> invoke(HostCall& call, const RawValue* arguments) {
    std::tuple<Slot<A>...> slots;
    bool valid = true;
    std::apply([&](auto&... slot) { ((valid = slot.take(call.memory(), arguments) && valid), ...); }, slots);
    if (!valid) return raw_result(static_cast<DR>(FaultStatus));
    auto* host = static_cast<Host*>(call.host());
    return std::apply([&](auto&... slot) { return raw_result((host->*Method)(call, slot.get()...)); }, slots);
  }
  static HostFunction make(std::string module, std::string name) {
    constexpr auto kinds = lowered_kinds<A...>();
    return {std::move(module), std::move(name), {kinds.begin(), kinds.end()}, result_kind<R>(), may_suspend, &invoke};
  }
};

}  // namespace detail

// `Declared` is the C function type of the ABI table, against which the method is checked at compile time.
template <auto Method, class Declared, int32_t FaultStatus>
HostFunction host_function(std::string module, std::string name) {
  return detail::Bind<Method, Declared, FaultStatus>::make(std::move(module), std::move(name));
}

}  // namespace realm::sandbox
