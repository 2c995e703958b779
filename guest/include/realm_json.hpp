// JSON for programs: what a request says, and what an answer says. Header only. A request that is not as it should be ends the
// instance with REALM_FAIL_BAD_REQUEST and a message that names the field.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "realm.hpp"

namespace realm::json {

constexpr uint32_t depth_max = 32;

inline void append_utf8(uint32_t code, std::string& out) {
  const auto tail = [&](uint32_t shift) { out += static_cast<char>(0x80 | (code >> shift & 0x3f)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6), tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12), tail(6), tail(0);
  } else {
    out += static_cast<char>(0xf0 | code >> 18), tail(12), tail(6), tail(0);
  }
}

// Bytes of the well-formed UTF-8 character that `text` begins with; 0 when it begins with none.
inline size_t character_bytes(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto tail = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first < 0xe0) return tail(1) ? 2 : 0;
  if (first >= 0xe0 && first < 0xf0) {
    const bool shortest = first != 0xe0 || byte(1) >= 0xa0;
    const bool surrogate = first == 0xed && byte(1) >= 0xa0;
    return shortest && !surrogate && tail(1) && tail(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first < 0xf5) {
    const bool in_range = (first != 0xf0 || byte(1) >= 0x90) && (first != 0xf4 || byte(1) < 0x90);
    return in_range && tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

// As a JSON string, quotes included. Bytes that are no UTF-8 become U+FFFD.
inline std::string quote(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const auto c = static_cast<uint8_t>(text[0]);
    const size_t bytes = character_bytes(text);
    if (c == '"' || c == '\\') {
      out += '\\', out += text[0];
    } else if (c < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", c);
      out += escape;
    } else if (bytes == 0) {
      out += "\xef\xbf\xbd";
    } else {
      out += text.substr(0, bytes);
    }
    text.remove_prefix(bytes > 0 ? bytes : 1);
  }
  return out + '"';
}

class Value {
 public:
  enum class Kind { null, boolean, number, string, array, object };
  Kind kind = Kind::null;
  bool boolean = false;
  double number = 0;
  std::string string;
  std::vector<Value> items;       // of an array, or the values of an object
  std::vector<std::string> keys;  // of an object

  // The field, null counting as absent.
  const Value* find(std::string_view key) const {
    for (size_t i = 0; i < keys.size(); ++i) {
      if (keys[i] == key) return items[i].kind == Kind::null ? nullptr : &items[i];
    }
    return nullptr;
  }
  const std::string& text(std::string_view key) const { return field(key, Kind::string, "a string").string; }
  std::string text(std::string_view key, std::string_view otherwise) const {
    return find(key) != nullptr ? text(key) : std::string(otherwise);
  }
  double real(std::string_view key, double otherwise, double least, double most) const {
    if (find(key) == nullptr) return otherwise;
    const double value = field(key, Kind::number, "a number").number;
    if (value < least || value > most) wrong(key, "is out of range");
    return value;
  }
  uint32_t integer(std::string_view key, uint32_t otherwise, uint32_t least, uint32_t most) const {
    const double value = real(key, otherwise, least, most);
    if (value != static_cast<uint32_t>(value)) wrong(key, "must be an integer");
    return static_cast<uint32_t>(value);
  }
  bool flag(std::string_view key, bool otherwise) const {
    return find(key) == nullptr ? otherwise : field(key, Kind::boolean, "true or false").boolean;
  }
  const Value& list(std::string_view key) const { return field(key, Kind::array, "an array"); }
  const Value& object(std::string_view key) const { return field(key, Kind::object, "an object"); }
  // The items of an array of strings.
  std::vector<std::string> texts(std::string_view key) const {
    std::vector<std::string> found;
    for (const Value& item : list(key).items) {
      if (item.kind != Kind::string) wrong(key, "must hold strings");
      found.push_back(item.string);
    }
    return found;
  }

 private:
  const Value& field(std::string_view key, Kind wanted, const char* what) const {
    const Value* found = find(key);
    if (found == nullptr) wrong(key, "is missing");
    if (found->kind != wanted) wrong(key, std::string("must be ") + what);
    return *found;
  }
  [[noreturn]] static void wrong(std::string_view key, std::string_view what) {
    fail(REALM_FAIL_BAD_REQUEST, std::string(key) + ": " + std::string(what));
  }
};

// Strict: one value, no comments, no trailing commas, nested at most depth_max levels deep.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}
  Value parse() {
    Value value = read_value(0);
    skip_blanks();
    if (at_ != text_.size()) wrong();
    return value;
  }

 private:
  [[noreturn]] void wrong() const { fail(REALM_FAIL_BAD_REQUEST, "the request is not JSON, byte " + std::to_string(at_)); }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_blanks() {
    while (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t') ++at_;
  }
  void expect(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) wrong();
    at_ += word.size();
  }

  Value read_value(uint32_t depth) {
    if (depth > depth_max) wrong();
    skip_blanks();
    Value value;
    switch (peek()) {
      case '{':
      case '[':
        return read_items(depth);
      case '"':
        value.kind = Value::Kind::string;
        value.string = read_string();
        return value;
      case 't':
      case 'f':
        value.kind = Value::Kind::boolean;
        value.boolean = peek() == 't';
        return expect(value.boolean ? "true" : "false"), value;
      case 'n':
        return expect("null"), value;
      default:
        value.kind = Value::Kind::number;
        value.number = read_number();
        return value;
    }
  }
  Value read_items(uint32_t depth) {
    Value value;
    const bool object = text_[at_++] == '{';
    const char end = object ? '}' : ']';
    value.kind = object ? Value::Kind::object : Value::Kind::array;
    skip_blanks();
    if (peek() == end) return ++at_, value;
    while (true) {
      skip_blanks();
      if (object) {
        value.keys.push_back(read_string());
        skip_blanks();
        expect(":");
      }
      value.items.push_back(read_value(depth + 1));
      skip_blanks();
      if (peek() == end) return ++at_, value;
      expect(",");
    }
  }
  double read_number() {
    const size_t begin = at_;
    const auto digits = [this] {
      if (peek() < '0' || peek() > '9') wrong();
      while (peek() >= '0' && peek() <= '9') ++at_;
    };
    if (peek() == '-') ++at_;
    if (peek() == '0') {
      ++at_;  // what follows a leading zero is no digit of it
    } else {
      digits();
    }
    if (peek() == '.') ++at_, digits();
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    return std::strtod(std::string(text_.substr(begin, at_ - begin)).c_str(), nullptr);
  }
  uint32_t read_hex() {
    uint32_t code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      if (!letter && (c < '0' || c > '9')) wrong();
      code = code * 16 + static_cast<uint32_t>(letter ? (c | 0x20) - 'a' + 10 : c - '0');
    }
    return code;
  }
  std::string read_string() {
    expect("\"");
    std::string out;
    while (peek() != '"') {
      if (static_cast<uint8_t>(peek()) < 0x20) wrong();
      if (peek() != '\\') {
        out += text_[at_++];
        continue;
      }
      ++at_;
      static constexpr std::string_view from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
      const char c = peek();
      ++at_;
      if (const auto known = from.find(c); c != '\0' && known != std::string_view::npos) {
        out += to[known];
      } else if (c == 'u') {
        append_escaped(out);
      } else {
        wrong();
      }
    }
    return ++at_, out;
  }
  void append_escaped(std::string& out) {
    uint32_t code = read_hex();
    if (code >= 0xd800 && code < 0xdc00) {
      expect("\\u");
      const uint32_t low = read_hex();
      if (low < 0xdc00 || low > 0xdfff) wrong();
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xdc00 && code < 0xe000) {
      wrong();
    }
    append_utf8(code, out);
  }

  std::string_view text_;
  size_t at_ = 0;
};

inline Value parse(std::string_view text) { return Parser(text).parse(); }

// Writes an object field by field.
class Object {
 public:
  Object& raw(std::string_view key, std::string_view json) {
    body_ += (body_.empty() ? "" : ",") + quote(key) + ":" + std::string(json);
    return *this;
  }
  Object& text(std::string_view key, std::string_view value) { return raw(key, quote(value)); }
  Object& number(std::string_view key, double value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.10g", value);
    return raw(key, digits);
  }
  Object& flag(std::string_view key, bool value) { return raw(key, value ? "true" : "false"); }
  std::string str() const { return "{" + body_ + "}"; }

 private:
  std::string body_;
};

// An array of what `write` makes of each item.
template <class Items, class Write>
std::string list(const Items& items, const Write& write) {
  std::string out;
  for (const auto& item : items) out += (out.empty() ? "" : ",") + write(item);
  return "[" + out + "]";
}

// The whole answer: the body of a request with a route, else the native one's text.
inline void answer(const Object& object) {
  const bool native = request_text(REALM_REQUEST_ROUTE).empty();
  if (!native) respond(200, REALM_CONTENT_JSON);
  emit(native ? REALM_EMIT_TEXT : REALM_EMIT_BODY, object.str());
}

}  // namespace realm::json
