#include "snapshot/wasm_module.h"

#include <algorithm>
#include <stdexcept>

namespace realm::snapshot {
namespace {

enum SectionId : uint8_t { memory_section = 5, export_section = 7, start_section = 8, data_count_section = 12, data_section = 11 };
constexpr size_t header_bytes = 8;
constexpr size_t gap_bytes_min = 64;  // so many zero bytes end a segment: beginning another one costs fewer
constexpr uint8_t i32_const = 0x41;
constexpr uint8_t end_of_expression = 0x0b;

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : left_(bytes) {}
  bool at_end() const { return left_.empty(); }
  uint8_t byte() { return take(1)[0]; }
  uint32_t number() {
    uint32_t value = 0;
    for (uint32_t shift = 0; shift < 35; shift += 7) {
      const uint8_t next = byte();
      value |= static_cast<uint32_t>(next & 0x7f) << shift;
      if ((next & 0x80) == 0) return value;
    }
    throw std::runtime_error("a number of the module is too long");
  }
  std::span<const uint8_t> take(size_t count) {
    if (count > left_.size()) throw std::runtime_error("the module is cut short");
    const auto taken = left_.first(count);
    left_ = left_.subspan(count);
    return taken;
  }

 private:
  std::span<const uint8_t> left_;
};

void put_number(Bytes& into, uint32_t value) {
  do {
    const uint8_t more = value > 0x7f ? 0x80 : 0;
    into.push_back(static_cast<uint8_t>(value & 0x7f) | more);
    value >>= 7;
  } while (value != 0);
}

void put_signed(Bytes& into, int32_t value) {
  while (value < -64 || value > 63) {
    into.push_back(static_cast<uint8_t>(value & 0x7f) | 0x80);
    value >>= 7;
  }
  into.push_back(static_cast<uint8_t>(value & 0x7f));
}

void put(Bytes& into, std::span<const uint8_t> bytes) { into.insert(into.end(), bytes.begin(), bytes.end()); }

void put_section(Bytes& into, uint8_t id, std::span<const uint8_t> content) {
  into.push_back(id);
  put_number(into, static_cast<uint32_t>(content.size()));
  put(into, content);
}

Bytes grown_memory(Reader section, size_t pages) {
  if (section.number() != 1) throw std::runtime_error("the module has not exactly one memory");
  const uint8_t flags = section.byte();
  if (flags > 1) throw std::runtime_error("the module's memory is shared or of 64 bits");
  section.number();
  Bytes content = {1, flags};
  put_number(content, static_cast<uint32_t>(pages));
  if (flags == 1) put_number(content, section.number());
  return content;
}

Bytes fewer_exports(Reader section, std::span<const std::string> dropped) {
  Bytes kept;
  uint32_t count = 0;
  for (uint32_t left = section.number(); left > 0; --left) {
    const auto name = section.take(section.number());
    const uint8_t kind = section.byte();
    const uint32_t index = section.number();
    const std::string text(name.begin(), name.end());
    if (std::find(dropped.begin(), dropped.end(), text) != dropped.end()) continue;
    ++count;
    put_number(kept, static_cast<uint32_t>(name.size()));
    put(kept, name);
    kept.push_back(kind);
    put_number(kept, index);
  }
  Bytes content;
  put_number(content, count);
  put(content, kept);
  return content;
}

void require_active_segments(Reader section) {
  for (uint32_t left = section.number(); left > 0; --left) {
    if (section.number() != 0) throw std::runtime_error("the module has passive data");
    if (section.byte() != i32_const) throw std::runtime_error("a data segment has no constant place");
    section.number();
    if (section.byte() != end_of_expression) throw std::runtime_error("a data segment has no constant place");
    section.take(section.number());
  }
}

struct Segment {
  size_t begin;
  size_t end;
};

std::vector<Segment> segments_of(std::span<const uint8_t> memory) {
  std::vector<Segment> segments;
  for (size_t i = 0; i < memory.size(); ++i) {
    if (memory[i] == 0) continue;
    if (segments.empty() || i - segments.back().end >= gap_bytes_min) segments.push_back({i, i});
    segments.back().end = i + 1;
  }
  return segments;
}

Bytes data_of(std::span<const uint8_t> memory, const std::vector<Segment>& segments) {
  Bytes content;
  put_number(content, static_cast<uint32_t>(segments.size()));
  for (const auto& [begin, end] : segments) {
    content.push_back(0);
    content.push_back(i32_const);
    put_signed(content, static_cast<int32_t>(begin));
    content.push_back(end_of_expression);
    put_number(content, static_cast<uint32_t>(end - begin));
    put(content, memory.subspan(begin, end - begin));
  }
  return content;
}

}  // namespace

Bytes with_memory(std::span<const uint8_t> module, std::span<const uint8_t> memory, std::span<const std::string> dropped) {
  Reader reader(module);
  Bytes result;
  put(result, reader.take(header_bytes));
  const auto segments = segments_of(memory);
  while (!reader.at_end()) {
    const uint8_t id = reader.byte();
    const auto content = reader.take(reader.number());
    if (id == start_section) throw std::runtime_error("the module has a start function");
    if (id == data_section) require_active_segments(Reader(content));
    if (id == memory_section) {
      put_section(result, id, grown_memory(Reader(content), memory.size() / page_bytes));
    } else if (id == export_section) {
      put_section(result, id, fewer_exports(Reader(content), dropped));
    } else if (id == data_count_section) {
      Bytes count;
      put_number(count, static_cast<uint32_t>(segments.size()));
      put_section(result, id, count);
    } else if (id == data_section) {
      put_section(result, id, data_of(memory, segments));
    } else {
      put_section(result, id, content);
    }
  }
  return result;
}

}  // namespace realm::snapshot
