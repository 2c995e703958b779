#include "base/sha256.h"

#include <openssl/evp.h>

#include "base/check.h"

namespace realm {

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  REALM_CHECK(context_ != nullptr && EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() { EVP_MD_CTX_free(context_); }

void Sha256::update(std::span<const uint8_t> bytes) { REALM_CHECK(EVP_DigestUpdate(context_, bytes.data(), bytes.size()) == 1); }

void Sha256::update(std::string_view text) { update({reinterpret_cast<const uint8_t*>(text.data()), text.size()}); }

std::string Sha256::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  REALM_CHECK(EVP_DigestFinal_ex(context_, digest, &length) == 1);
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * length);
  for (unsigned i = 0; i < length; ++i) {
    text += digits[digest[i] >> 4];
    text += digits[digest[i] & 15];
  }
  return text;
}

std::string sha256_hex(std::span<const uint8_t> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

}  // namespace realm
