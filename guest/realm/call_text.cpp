#include "realm/call_text.h"

#include <algorithm>

#include "realm/json_fields.h"

namespace realm {
namespace {

constexpr std::string_view gemma_quote = "<|\"|>";

void skip_spaces(std::string_view& text) { text.remove_prefix(std::min(text.find_first_not_of(spaces), text.size())); }

// A string in `quote`s with backslashes, which the text begins with.
std::optional<common_json> take_quoted(std::string_view& text) {
  const char quote = text.front();
  std::string value;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == quote) {
      text.remove_prefix(i + 1);
      return common_json(value);
    }
    if (text[i] != '\\') {
      value += text[i];
      continue;
    }
    if (++i == text.size()) break;
    if (text[i] == '\'') {
      value += '\'';
      continue;
    }
    // JSON's own escapes; of any other both characters stay, as in Python.
    const size_t length = text[i] == 'u' ? std::min<size_t>(5, text.size() - i) : 1;
    const common_json parsed = common_json::parse_no_throw("\"\\" + std::string(text.substr(i, length)) + "\"");
    value += parsed.is_string() ? parsed.get<std::string>() : "\\" + std::string(text.substr(i, length));
    i += length - 1;
  }
  return {};
}

std::optional<common_json> take_word(std::string_view& text, std::string_view ends) {
  const size_t end = std::min(text.find_first_of(ends), text.size());
  const std::string_view word = trimmed(text.substr(0, end));
  text.remove_prefix(end);
  if (word == "True") return common_json(true);
  if (word == "False") return common_json(false);
  if (word == "None") return common_json(nullptr);
  const common_json value = common_json::parse_no_throw(std::string(word));
  if (value.is_discarded() || value.is_string() || word.empty()) return {};
  return value;
}

class ValueReader {
 public:
  ValueReader(std::string_view text, bool gemma) : text_(text), gemma_(gemma) {}

  std::optional<common_json> read(uint32_t depth) {
    skip_spaces(text_);
    if (text_.empty() || depth > json_depth_max) return {};
    const char first = text_.front();
    if (gemma_ && take(text_, gemma_quote)) {
      const auto value = take_until(text_, gemma_quote);
      return value ? std::optional(common_json(std::string(*value))) : std::nullopt;
    }
    if (first == '"' || first == '\'') return take_quoted(text_);
    if (first == '[' || (first == '(' && !gemma_)) return read_list(depth, first == '[' ? ']' : ')');
    if (first == '{') return read_object(depth);
    return take_word(text_, gemma_ ? ",}]" : ",)]}:");
  }

  std::string_view rest() const { return text_; }

 private:
  std::optional<common_json> read_list(uint32_t depth, char end) {
    text_.remove_prefix(1);
    common_json list = common_json::array();
    while (!ends(end)) {
      auto value = read(depth + 1);
      if (!value || !separated(end)) return {};
      list.push_back(*value);
    }
    return list;
  }

  std::optional<common_json> read_object(uint32_t depth) {
    text_.remove_prefix(1);
    common_json object = common_json::object();
    while (!ends('}')) {
      const auto key = read_key();
      if (!key) return {};
      auto value = read(depth + 1);
      if (!value || !separated('}')) return {};
      object[*key] = *value;
    }
    return object;
  }

  std::optional<std::string> read_key() {
    skip_spaces(text_);
    if (text_.empty()) return {};
    if (text_.front() == '"' || text_.front() == '\'' || (gemma_ && text_.starts_with(gemma_quote))) {
      const auto key = read(0);
      skip_spaces(text_);
      if (!key || !key->is_string() || !take(text_, ":")) return {};
      return key->get<std::string>();
    }
    if (!gemma_) return {};
    const auto key = take_until(text_, ":");
    if (!key) return {};
    return std::string(trimmed(*key));
  }

  // Takes the end off, when the text goes on with it.
  bool ends(char end) {
    skip_spaces(text_);
    return take(text_, std::string_view(&end, 1));
  }
  // Between two values stands a comma; the end is left for `ends`.
  bool separated(char end) {
    skip_spaces(text_);
    return take(text_, ",") || text_.starts_with(end);
  }

  std::string_view text_;
  const bool gemma_;
};

std::optional<common_json> take_value(std::string_view& text, bool gemma) {
  ValueReader reader(text, gemma);
  auto value = reader.read(0);
  text = reader.rest();
  return value;
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  skip_spaces(text);
  return text.substr(0, text.find_last_not_of(spaces) + 1);
}

std::string_view without_code_block(std::string_view text) {
  if (!text.starts_with("```") || !text.ends_with("```") || text.size() < 6) return text;
  text.remove_suffix(3);
  return trimmed(text.substr(std::min(text.find('\n'), text.size())));
}

size_t json_length(std::string_view text) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > json_depth_max) return 0;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return 0;
      if (--depth == 0) return i + 1;
    } else if (depth == 0) {
      return 0;
    }
  }
  return 0;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

std::optional<std::string_view> take_until(std::string_view& text, std::string_view end) {
  const size_t at = text.find(end);
  if (at == std::string_view::npos) return {};
  const std::string_view before = text.substr(0, at);
  text.remove_prefix(at + end.size());
  return before;
}

std::optional<common_json> take_python_value(std::string_view& text) { return take_value(text, false); }

std::optional<common_json> take_gemma_value(std::string_view& text) { return take_value(text, true); }

}  // namespace realm
