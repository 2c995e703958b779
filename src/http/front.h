// The server's service: every route, from its admission to its answer.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "http/admin_api.h"
#include "http/gatekeeper.h"
#include "http/inference.h"
#include "http/limits.h"
#include "http/programs_api.h"
#include "http/resident_realms.h"
#include "http/server_metrics.h"
#include "http/service.h"
#include "http/tenant_store.h"
#include "models/store.h"
#include "runtime/runtime.h"
#include "tenants/tenants.h"

namespace realm::http {

struct FrontOptions {
  GatekeeperOptions gate;
  uint32_t realms_resident_max = 16;
  std::vector<std::string> cors_origins;  // "*", or those that browsers may call from; empty: none
  runtime::RealmLimits realm_defaults;
  std::string version;
};

class Front final : public Service {
 public:
  // All of them outlive it; `limits` too.
  Front(const FrontOptions& options, const HttpLimits& limits, runtime::Runtime& runtime, tenants::Tenants& tenants,
        models::Catalogue& catalogue, const models::ModelStore& store, models::PublishedPrefixes& prefixes);
  ~Front() override;  // cancels what runs and waits for it

  // From now on /readyz fails and connections close after their answers.
  void drain() { draining_.store(true); }

  Protocol protocol_of(const Request& request) const override;
  std::expected<std::unique_ptr<Caller>, Problem> authorize(const Request& request) override;
  boost::asio::awaitable<Served> serve(const Request& request, std::unique_ptr<Caller> caller, ClientIo& client) override;
  void note_refused(const Request& request, const Problem& problem) override;
  void note_connection(bool opened) override;
  void note_connection_refused() override;
  bool draining() const override { return draining_.load(); }
  void add_headers(const Request& request, HeaderList& headers) const override;

 private:
  Response answer(const Request& request, const Admitted& admitted);
  Response list_models(const Request& request, const tenants::Realm& realm) const;
  Response metrics() const;
  void write_store_metrics(MetricText& text) const;
  std::string status() const;
  void publish_prefixes(const std::string& model) const;
  bool allows_origin(std::string_view origin) const;

  const FrontOptions options_;
  runtime::Runtime& runtime_;
  tenants::Tenants& tenants_;
  models::Catalogue& catalogue_;
  const models::ModelStore& store_;
  models::PublishedPrefixes& prefixes_;
  ServerMetrics metrics_;
  TenantStore values_;
  ResidentRealms residents_;
  Gatekeeper gate_;
  AdminApi admin_;
  ProgramsApi programs_;
  Inference inference_;
  std::atomic<bool> draining_{false};
  const int64_t started_unix_s_;
};

}  // namespace realm::http
