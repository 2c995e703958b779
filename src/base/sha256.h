// SHA-256 (OpenSSL).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace realm {

// Fed piece by piece. One thread at a time.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::span<const uint8_t> bytes);
  void update(std::string_view text);
  std::string hex();  // 64 lower-case digits; ends the calculation

 private:
  evp_md_ctx_st* context_;
};

std::string sha256_hex(std::span<const uint8_t> bytes);

}  // namespace realm
