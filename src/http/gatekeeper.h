// Who asks, and may they: decided on the head of a request alone.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "http/inference.h"
#include "http/message.h"
#include "http/problem.h"
#include "http/routes.h"
#include "http/server_metrics.h"
#include "http/service.h"
#include "http/upload_places.h"
#include "tenants/tenants.h"

namespace realm::http {

struct GatekeeperOptions {
  bool loopback_only = true;             // the server can be reached from this machine alone
  bool anonymous = false;                // requests without a key are served, as the realm `default`
  uint64_t body_bytes_max = 4ull << 20;  // of realms without a limit of their own
  uint32_t uploads_max = 16;             // as in HttpLimits
  uint32_t uploads_of_realm_max = 2;
  std::vector<std::string> admin_hosts;  // Host names that the admin API answers to, besides those of this machine
};

struct Admitted : Caller {
  RouteKind kind = RouteKind::unknown;
  TenantCall call;               // of programs and model lists: whose it is
  std::shared_ptr<void> upload;  // of a program's upload: its place
};

class Gatekeeper {
 public:
  // `tenants` outlives this.
  Gatekeeper(const GatekeeperOptions& options, tenants::Tenants& tenants, const ServerMetrics& metrics);

  // Any thread. A refusal for a rate limit carries its headers in `headers`.
  std::expected<std::unique_ptr<Caller>, Problem> admit(const Request& request) const;

 private:
  std::expected<tenants::Identity, Problem> identify(const Request& request) const;
  std::expected<std::unique_ptr<Caller>, Problem> admit_tenant(const Request& request, std::unique_ptr<Admitted> admitted) const;
  std::expected<void, Problem> admit_upload(Admitted& admitted) const;
  std::expected<std::unique_ptr<Caller>, Problem> admit_operator(const Request& request, std::unique_ptr<Admitted> admitted) const;

  const GatekeeperOptions options_;
  tenants::Tenants& tenants_;
  const ServerMetrics& metrics_;
  const tenants::RealmPointer default_realm_;
  mutable UploadPlaces uploads_;
};

}  // namespace realm::http
