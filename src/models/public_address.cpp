#include "models/public_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace realm::models {
namespace {

struct Range {
  uint32_t first;  // host byte order
  uint32_t bits;
};

constexpr Range special_v4[] = {
    {0x00000000, 8},   // this network
    {0x0a000000, 8},   // private
    {0x64400000, 10},  // shared by carriers
    {0x7f000000, 8},   // loopback
    {0xa9fe0000, 16},  // link-local, cloud metadata
    {0xac100000, 12},  // private
    {0xc0000000, 24},  // protocol assignments
    {0xc0000200, 24},  // documentation
    {0xc0586300, 24},  // 6to4 relays
    {0xc0a80000, 16},  // private
    {0xc6120000, 15},  // benchmarks
    {0xc6336400, 24},  // documentation
    {0xcb007100, 24},  // documentation
    {0xe0000000, 3},   // multicast, reserved, broadcast
};

using V6 = std::array<uint8_t, 16>;

bool is_public_v4(uint32_t address) {
  return std::none_of(std::begin(special_v4), std::end(special_v4),
                      [address](const Range& range) { return (address ^ range.first) >> (32 - range.bits) == 0; });
}

uint32_t v4_at(const V6& address, size_t offset) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | address[offset + i];
  return value;
}

bool begins_with(const V6& address, std::initializer_list<uint8_t> prefix) {
  return std::equal(prefix.begin(), prefix.end(), address.begin());
}

bool is_public_v6(const V6& address) {
  if (begins_with(address, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})) return is_public_v4(v4_at(address, 12));     // IPv4-mapped
  if (begins_with(address, {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})) return is_public_v4(v4_at(address, 12));  // NAT64
  if (begins_with(address, {0x20, 0x02})) return is_public_v4(v4_at(address, 2));                                    // 6to4
  const bool special = begins_with(address, {0x20, 0x01, 0x0d, 0xb8}) || (begins_with(address, {0x20, 0x01}) && address[2] < 2);
  return (address[0] & 0xe0) == 0x20 && !special;  // 2000::/3 is all that is given out
}

}  // namespace

bool is_public_address(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    return is_public_v4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family != AF_INET6) return false;
  sockaddr_in6 v6{};
  std::memcpy(&v6, &address, sizeof v6);
  V6 bytes;
  std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
  return is_public_v6(bytes);
}

}  // namespace realm::models
