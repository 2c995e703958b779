// Which network addresses a download may go to.
#pragma once

struct sockaddr;

namespace realm::models {

// True for an address of the public internet. False for loopback, private, link-local, shared, multicast, documentation and reserved
// ranges (IANA's special-purpose registries), for IPv6 forms that carry such an IPv4 address, and for other families.
bool is_public_address(const sockaddr& address);

}  // namespace realm::models
