#include "tenants/key_text.h"

#include <sys/random.h>

#include <algorithm>

#include "base/check.h"
#include "base/sha256.h"

namespace realm::tenants {
namespace {

constexpr std::string_view alphabet = "abcdefghijklmnopqrstuvwxyz0123456789";
constexpr std::string_view marker = "rk_";
constexpr size_t id_length = 12;
constexpr size_t secret_length = 40;

std::string random_text(size_t length) {
  std::string text;
  while (text.size() < length) {
    uint8_t byte = 0;
    REALM_CHECK(getrandom(&byte, 1, 0) == 1);
    if (byte < 252) text += alphabet[byte % alphabet.size()];  // 252 = 7 * 36: every character equally likely
  }
  return text;
}

bool is_of_alphabet(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return alphabet.find(c) != std::string_view::npos; });
}

}  // namespace

KeyText make_key_text() { return {random_text(id_length), random_text(secret_length)}; }

std::string make_id(std::string_view prefix) { return std::string(prefix) + random_text(id_length); }

std::optional<KeyText> parse_key_text(std::string_view text) {
  if (text.size() != marker.size() + id_length + 1 + secret_length || !text.starts_with(marker)) return std::nullopt;
  const auto id = text.substr(marker.size(), id_length);
  const auto secret = text.substr(marker.size() + id_length + 1);
  if (text[marker.size() + id_length] != '_' || !is_of_alphabet(id) || !is_of_alphabet(secret)) return std::nullopt;
  return KeyText{std::string(id), std::string(secret)};
}

std::string secret_sha256(std::string_view secret) {
  Sha256 hash;
  hash.update(secret);
  return hash.hex();
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace realm::tenants
