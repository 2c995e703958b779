#include "sandbox/wasi.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "base/log.h"

namespace realm::sandbox {
namespace {

// Numbers of WASI's errno.
enum : int32_t { wasi_ok = 0, wasi_badf = 8, wasi_fault = 21, wasi_inval = 28, wasi_nosys = 52 };

constexpr uint32_t random_bytes_max = 64u << 10;
constexpr uint32_t log_line_bytes_max = 1'024;
constexpr uint32_t write_pieces_max = 16;

std::optional<RawValue> answer(int32_t value) { return RawValue{.i32 = value}; }

template <class T>
bool store_at(HostCall& call, uint64_t pointer, T value) {
  if (!detail::in_memory(call.memory(), pointer, 1, sizeof(T), 1)) return false;
  std::memcpy(call.memory().data() + pointer, &value, sizeof(T));
  return true;
}

std::optional<RawValue> clock_time_get(HostCall& call, const RawValue* arguments) {
  int64_t now = 0;
  switch (arguments[0].i32) {
    case 0:
      now = realm::detail::clock_ns(CLOCK_REALTIME);
      break;
    case 1:
      now = monotonic_ns();
      break;
    default:
      return answer(wasi_inval);
  }
  return answer(store_at(call, arguments[2].pointer, now) ? wasi_ok : wasi_fault);
}

std::optional<RawValue> clock_res_get(HostCall& call, const RawValue* arguments) {
  return answer(store_at(call, arguments[1].pointer, int64_t{1'000}) ? wasi_ok : wasi_fault);
}

std::optional<RawValue> random_get(HostCall& call, const RawValue* arguments) {
  const auto count = static_cast<uint32_t>(arguments[1].i32);
  if (count > random_bytes_max) return answer(wasi_inval);
  if (!detail::in_memory(call.memory(), arguments[0].pointer, count, 1, 1)) return answer(wasi_fault);
  uint8_t* at = call.memory().data() + arguments[0].pointer;
  return answer(getrandom(at, count, 0) == static_cast<ssize_t>(count) ? wasi_ok : wasi_inval);
}

// Standard output and error go to the log at debug level, cut to a line.
std::optional<RawValue> fd_write(HostCall& call, const RawValue* arguments) {
  if (arguments[0].i32 != 1 && arguments[0].i32 != 2) return answer(wasi_badf);
  struct Piece {
    uint32_t pointer, count;
  };
  const auto pieces = static_cast<uint32_t>(arguments[2].i32);
  if (pieces > write_pieces_max) return answer(wasi_inval);
  if (!detail::in_memory(call.memory(), arguments[1].pointer, pieces, sizeof(Piece), 1)) return answer(wasi_fault);
  std::string line;
  uint32_t total = 0;
  for (uint32_t i = 0; i < pieces; ++i) {
    Piece piece{};
    std::memcpy(&piece, call.memory().data() + arguments[1].pointer + i * sizeof(Piece), sizeof(Piece));
    if (!detail::in_memory(call.memory(), piece.pointer, piece.count, 1, 1)) return answer(wasi_fault);
    const auto kept = std::min<size_t>(piece.count, log_line_bytes_max - line.size());
    line.append(reinterpret_cast<const char*>(call.memory().data() + piece.pointer), kept);
    total += piece.count;
  }
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  log().debug("program: {}", line);
  return answer(store_at(call, arguments[3].pointer, total) ? wasi_ok : wasi_fault);
}

// environ_sizes_get, args_sizes_get: there are none.
std::optional<RawValue> no_strings(HostCall& call, const RawValue* arguments) {
  const bool stored = store_at(call, arguments[0].pointer, uint32_t{0}) && store_at(call, arguments[1].pointer, uint32_t{0});
  return answer(stored ? wasi_ok : wasi_fault);
}

std::optional<RawValue> succeed(HostCall&, const RawValue*) { return answer(wasi_ok); }
std::optional<RawValue> bad_descriptor(HostCall&, const RawValue*) { return answer(wasi_badf); }
std::optional<RawValue> not_offered(HostCall&, const RawValue*) { return answer(wasi_nosys); }

std::optional<RawValue> proc_exit(HostCall& call, const RawValue* arguments) {
  const int32_t code = arguments[0].i32;
  call.end(code == 0 ? end_code_exit_success : end_code_exit_failure, "the program exited with code " + std::to_string(code));
  return answer(wasi_ok);
}

}  // namespace

std::vector<HostFunction> wasi_functions() {
  constexpr auto i32 = ValueKind::i32;
  constexpr auto i64 = ValueKind::i64;
  constexpr auto ptr = ValueKind::pointer;
  const auto make = [](const char* name, std::vector<ValueKind> parameters, auto* function, ValueKind result = ValueKind::i32) {
    return HostFunction{"wasi_snapshot_preview1", name, std::move(parameters), result, false, function};
  };
  return {make("clock_time_get", {i32, i64, ptr}, clock_time_get),
          make("clock_res_get", {i32, ptr}, clock_res_get),
          make("random_get", {ptr, i32}, random_get),
          make("fd_write", {i32, ptr, i32, ptr}, fd_write),
          make("environ_sizes_get", {ptr, ptr}, no_strings),
          make("environ_get", {ptr, ptr}, succeed),
          make("args_sizes_get", {ptr, ptr}, no_strings),
          make("args_get", {ptr, ptr}, succeed),
          make("fd_close", {i32}, bad_descriptor),
          make("fd_seek", {i32, i64, i32, ptr}, bad_descriptor),
          make("fd_read", {i32, ptr, i32, ptr}, bad_descriptor),
          make("fd_fdstat_get", {i32, ptr}, bad_descriptor),
          make("fd_fdstat_set_flags", {i32, i32}, bad_descriptor),
          make("fd_prestat_get", {i32, ptr}, bad_descriptor),
          make("fd_prestat_dir_name", {i32, ptr, i32}, bad_descriptor),
          make("sched_yield", {}, succeed),
          make("poll_oneoff", {ptr, ptr, i32, ptr}, not_offered),
          make("proc_exit", {i32}, proc_exit, ValueKind::none)};
}

}  // namespace realm::sandbox
