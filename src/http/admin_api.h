// The operator's API: realms, keys, usage, models. JSON in, JSON out. The server answers /admin/v1 with it; the command line uses the same
// functions on the database itself when no server runs.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "http/message.h"
#include "models/prefixes.h"
#include "models/store.h"
#include "tenants/tenants.h"

namespace realm::http {

struct AdminCall {
  boost::beast::http::verb method = boost::beast::http::verb::get;
  std::string path;        // below /admin/v1/, such as "realms/acme"
  std::string query = {};  // "realm=acme&from=2026-11-01"
  std::string body = {};   // JSON, or empty
};

class AdminApi {
 public:
  // What the running server adds: the document of GET status. Null without a server.
  using Status = std::function<std::string()>;

  // What the running server does when the published prefixes of a model have changed. Null without a server.
  using PrefixesChanged = std::function<void(const std::string& model)>;

  // `store` is null without a server; `catalogue` too when there is none to ask.
  AdminApi(tenants::Tenants& tenants, models::Catalogue* catalogue, const models::ModelStore* store, models::PublishedPrefixes& prefixes,
           Status status, PrefixesChanged prefixes_changed)
      : tenants_(tenants),
        catalogue_(catalogue),
        store_(store),
        prefixes_(prefixes),
        status_(std::move(status)),
        prefixes_changed_(std::move(prefixes_changed)) {}

  // Any thread. Errors are answers too, in the shape of problem_response().
  Response answer(const AdminCall& call, std::string_view request_id);

 private:
  tenants::Tenants& tenants_;
  models::Catalogue* const catalogue_;
  const models::ModelStore* const store_;
  models::PublishedPrefixes& prefixes_;
  const Status status_;
  const PrefixesChanged prefixes_changed_;
};

// "2026-11-24" for days since 1970, and back; -1 for what is no date.
std::string date_text(int64_t day);
int64_t parse_date(std::string_view text);

}  // namespace realm::http
