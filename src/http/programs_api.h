// Programs that realms bring themselves: /v1/programs, and which program answers a request.
//
// A program belongs to the realm of the key. Another realm's looks exactly like one that does not exist.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>
#include <string>

#include "http/message.h"
#include "http/problem.h"
#include "runtime/runtime.h"
#include "tenants/tenants.h"

namespace realm::http {

// The program of this name answers the realm's inference routes in place of realm.wasm.
constexpr std::string_view default_program = "default";

class ProgramsApi {
 public:
  // Both outlive it.
  ProgramsApi(runtime::Runtime& runtime, tenants::Tenants& tenants, const runtime::RealmLimits& realm_defaults)
      : runtime_(runtime), tenants_(tenants), realm_defaults_(realm_defaults) {}

  // GET, PUT and DELETE of programs.
  boost::asio::awaitable<Response> answer(const Request& request, tenants::RealmPointer realm, boost::asio::any_io_executor executor);

  struct Chosen {
    std::shared_ptr<const sandbox::Program> program;  // null: realm.wasm
    std::optional<runtime::Allowance> allowance;
  };
  // Of a request to /v1/programs/{name}/run the one that it names; otherwise the realm's default. Waits while it is compiled.
  boost::asio::awaitable<Result<Chosen>> choose(const Request& request, tenants::RealmPointer realm, boost::asio::any_io_executor executor);

 private:
  using Opened = Result<std::shared_ptr<const sandbox::Program>>;
  boost::asio::awaitable<Response> put(const Request& request, tenants::RealmPointer realm, boost::asio::any_io_executor executor);
  boost::asio::awaitable<Opened> open(runtime::ProgramSource source, boost::asio::any_io_executor executor);
  Response list(const tenants::Realm& realm) const;
  Response show(const Request& request, const tenants::Realm& realm) const;
  Response remove(const Request& request, const tenants::Realm& realm);
  runtime::ProgramSource source_of(const tenants::StoredProgram& program, const tenants::ProgramVersion& version) const;

  runtime::Runtime& runtime_;
  tenants::Tenants& tenants_;
  const runtime::RealmLimits realm_defaults_;
};

}  // namespace realm::http
