// Requests that a realm's program answers: admission, the program, the answer's way to the client, the account.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>

#include "http/client_io.h"
#include "http/limits.h"
#include "http/programs_api.h"
#include "http/resident_realms.h"
#include "http/server_metrics.h"
#include "http/service.h"
#include "runtime/runtime.h"
#include "tenants/tenants.h"

namespace realm::http {

// Whose request it is, found out before its body was read. Holds its place in the realm's rate limits.
struct TenantCall {
  tenants::RealmPointer realm;
  std::string key_id;  // empty: without a key
  tenants::RateLimiter::Admission admission;
};

// The x-ratelimit-* headers that OpenAI sends, for the limits that there are.
HeaderList rate_headers(const tenants::RateState& state);

class Inference {
 public:
  // All of these outlive it.
  Inference(runtime::Runtime& runtime, tenants::Tenants& tenants, ProgramsApi& programs, ResidentRealms& residents, ServerMetrics& metrics,
            const HttpLimits& limits, const runtime::RealmLimits& realm_defaults)
      : runtime_(runtime),
        tenants_(tenants),
        programs_(programs),
        residents_(residents),
        metrics_(metrics),
        limits_(limits),
        realm_defaults_(realm_defaults) {}

  boost::asio::awaitable<Served> serve(const Request& request, TenantCall call, ClientIo& client);

 private:
  struct Account;
  struct Answer;
  boost::asio::awaitable<void> pump(const Request& request, Answer& answer, ClientIo& client);
  boost::asio::awaitable<void> refuse(const Request& request, const Problem& problem, const tenants::RateState& rate, ClientIo& client,
                                      Served& served);
  Problem problem_with_retry(const Error& error, std::string_view realm) const;

  runtime::Runtime& runtime_;
  tenants::Tenants& tenants_;
  ProgramsApi& programs_;
  ResidentRealms& residents_;
  ServerMetrics& metrics_;
  const HttpLimits& limits_;
  const runtime::RealmLimits realm_defaults_;
};

}  // namespace realm::http
