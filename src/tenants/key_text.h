// The text of a key: rk_<public id>_<secret>. It is shown once; kept are the id and the secret's SHA-256.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace realm::tenants {

struct KeyText {
  std::string id;
  std::string secret;
  std::string text() const { return "rk_" + id + "_" + secret; }
};

// From the system's generator: 12 characters of id, 40 of secret (206 bits).
KeyText make_key_text();

// `prefix` and 12 random characters of [a-z0-9].
std::string make_id(std::string_view prefix);

// nullopt for what cannot be a key.
std::optional<KeyText> parse_key_text(std::string_view text);

std::string secret_sha256(std::string_view secret);

// Takes the same time wherever they differ.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace realm::tenants
