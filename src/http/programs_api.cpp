#include "http/programs_api.h"

#include <algorithm>
#include <boost/json.hpp>
#include <mutex>

#include "base/sha256.h"
#include "http/program_manifest.h"
#include "http/request_head.h"
#include "http/routes.h"
#include "http/tenant_limits.h"
#include "http/wake_signal.h"

namespace realm::http {
namespace {

namespace json = boost::json;
namespace asio = boost::asio;
using boost::beast::http::verb;

// Between the cache's thread and the coroutine that waits for it.
struct Waiting {
  explicit Waiting(const asio::any_io_executor& executor) : signal(executor) {}
  WakeSignal signal;
  std::mutex mutex;
  std::optional<Result<std::shared_ptr<const sandbox::Program>>> result;  // guarded
};

struct Detach {
  Waiting& waiting;
  ~Detach() { waiting.signal.detach(); }
};

bool is_refusal(const Error& error) { return error.code == ErrorCode::corrupt || error.code == ErrorCode::unsupported; }

Problem problem_of_upload(const Error& error) {
  if (is_refusal(error)) return {422, "program_refused", error.message};
  if (error.code == ErrorCode::invalid_argument) return {422, "invalid_program", error.message};
  return problem_of(error);
}

Response refused(const Request& request, const Problem& problem) { return problem_response(Protocol::openai, problem, request.id); }

Response no_such_program(const Request& request) { return refused(request, {404, "not_found", "there is no such program"}); }

json::value manifest_of(const tenants::ProgramVersion& version) {
  return version.manifest.empty() ? json::value(nullptr) : json::parse(version.manifest);
}

json::object shown(const tenants::StoredProgram& program) {
  const tenants::ProgramVersion& live = program.live();
  json::array versions;
  for (auto version = program.versions.rbegin(); version != program.versions.rend(); ++version) {
    versions.push_back(json::object{{"version", version->sha256},
                                    {"bytes", version->bytes},
                                    {"created", version->created_unix_s},
                                    {"manifest", manifest_of(*version)}});
  }
  return {{"object", "program"},
          {"name", program.name},
          {"version", live.sha256},
          {"bytes", live.bytes},
          {"created", live.created_unix_s},
          {"manifest", manifest_of(live)},
          {"versions", std::move(versions)}};
}

// The parameter `version`: a SHA-256; empty when it is not given. False: another parameter, or no hash.
bool read_version(const Request& request, std::string& version) {
  for (const auto& [name, value] : parse_query(request.query)) {
    if (name != "version" || value.size() != 64 || value.find_first_not_of("0123456789abcdef") != std::string::npos) return false;
    version = value;
  }
  return true;
}

const tenants::ProgramVersion* version_of(const tenants::StoredProgram& program, const std::string& sha256) {
  if (sha256.empty()) return &program.live();
  const auto found = std::find_if(program.versions.begin(), program.versions.end(), [&](const auto& one) { return one.sha256 == sha256; });
  return found == program.versions.end() ? nullptr : &*found;
}

}  // namespace

asio::awaitable<Response> ProgramsApi::answer(const Request& request, tenants::RealmPointer realm, asio::any_io_executor executor) {
  if (request.method == verb::put) {
    Response response = co_await put(request, realm, executor);
    co_return response;
  }
  if (request.method == verb::delete_) co_return remove(request, *realm);
  co_return program_name(request.path).empty() ? list(*realm) : show(request, *realm);
}

Response ProgramsApi::list(const tenants::Realm& realm) const {
  json::array data;
  for (const auto& program : tenants_.programs().list(realm.id)) data.push_back(shown(*program));
  return {.body = json::serialize(json::object{{"object", "list"}, {"data", std::move(data)}})};
}

Response ProgramsApi::show(const Request& request, const tenants::Realm& realm) const {
  const auto program = tenants_.programs().find(realm.id, program_name(request.path));
  if (!program) return no_such_program(request);
  return {.body = json::serialize(shown(*program))};
}

Response ProgramsApi::remove(const Request& request, const tenants::Realm& realm) {
  std::string version;
  if (!read_version(request, version)) return refused(request, {400, "invalid_request", "version: must be a SHA-256 in hexadecimal"});
  const std::string name(program_name(request.path));
  if (auto done = tenants_.programs().remove(realm.id, name, version); !done) return refused(request, problem_of(done.error()));
  return {.body = json::serialize(json::object{{"deleted", name}})};
}

asio::awaitable<ProgramsApi::Opened> ProgramsApi::open(runtime::ProgramSource source, asio::any_io_executor executor) {
  const auto waiting = std::make_shared<Waiting>(executor);
  const Detach detach{*waiting};
  runtime_.open_program(std::move(source), [waiting](Opened opened) {
    {
      std::lock_guard lock(waiting->mutex);
      waiting->result = std::move(opened);
    }
    waiting->signal.wake();
  });
  while (true) {
    {
      std::lock_guard lock(waiting->mutex);
      if (waiting->result) co_return std::move(*waiting->result);
    }
    co_await waiting->signal.wait();
  }
}

asio::awaitable<Response> ProgramsApi::put(const Request& request, tenants::RealmPointer realm, asio::any_io_executor executor) {
  const std::string name(program_name(request.path));
  const std::string manifest(request.header("realm-manifest"));
  runtime::RealmLimits limits = runtime_limits(*realm, realm_defaults_);
  if (!tenants_.realm(realm->id)) {
    co_return refused(request, {403, "permission_denied", "programs belong to a realm; make one with `realm realms create`"});
  }
  if (auto room = tenants_.programs().check_room(*realm, name, 0); !room) co_return refused(request, problem_of_upload(room.error()));
  if (!manifest.empty()) {
    const auto allowance = parse_manifest(manifest);
    if (!allowance) co_return refused(request, problem_of_upload(allowance.error()));
    limits.instance.memory_bytes_max = std::min(limits.instance.memory_bytes_max, allowance->memory_bytes_max);
  }
  const auto module = std::make_shared<const std::string>(request.body);
  const std::string sha256 = sha256_hex({reinterpret_cast<const uint8_t*>(module->data()), module->size()});
  runtime::ProgramSource source{.realm_id = realm->id, .sha256 = sha256, .read = [module]() -> Result<std::string> { return *module; }};
  const Opened opened = co_await open(std::move(source), executor);
  if (!opened) co_return refused(request, problem_of_upload(opened.error()));
  const uint64_t memory_bytes = (*opened)->shape().memory_bytes_min;
  if (memory_bytes > limits.instance.memory_bytes_max) {
    co_return refused(request, {422, "program_refused",
                                "its memory begins with " + std::to_string(memory_bytes) + " bytes, it may have " +
                                    std::to_string(limits.instance.memory_bytes_max)});
  }
  const auto before = tenants_.programs().find(realm->id, name);
  const bool is_new = !before || version_of(*before, sha256) == nullptr;
  const auto stored = tenants_.programs().put(*realm, name, *module, sha256, manifest);
  if (!stored) co_return refused(request, problem_of_upload(stored.error()));
  co_return Response{.status = static_cast<uint16_t>(is_new ? 201 : 200), .body = json::serialize(shown(**stored))};
}

runtime::ProgramSource ProgramsApi::source_of(const tenants::StoredProgram& program, const tenants::ProgramVersion& version) const {
  return {.realm_id = program.realm_id,
          .sha256 = version.sha256,
          .read = [&programs = tenants_.programs(), realm_id = program.realm_id, sha256 = version.sha256] {
            return programs.module(realm_id, sha256);
          }};
}

asio::awaitable<Result<ProgramsApi::Chosen>> ProgramsApi::choose(const Request& request, tenants::RealmPointer realm,
                                                                 asio::any_io_executor executor) {
  const std::string_view named = program_name(request.path);
  const tenants::ProgramPointer program = tenants_.programs().find(realm->id, named.empty() ? default_program : named);
  if (!program && named.empty()) co_return Chosen{};
  std::string wanted;
  if (!named.empty() && !read_version(request, wanted))
    co_return fail(ErrorCode::invalid_argument, "version: must be a SHA-256 in hexadecimal");
  const tenants::ProgramVersion* version = program ? version_of(*program, wanted) : nullptr;
  if (version == nullptr) co_return fail(ErrorCode::not_found, "there is no such program");
  Chosen chosen;
  if (!version->manifest.empty()) {
    auto allowance = parse_manifest(version->manifest);
    if (!allowance) co_return fail(ErrorCode::program_failed, allowance.error().message);
    chosen.allowance = std::move(*allowance);
  }
  runtime::ProgramSource source = source_of(*program, *version);
  Opened opened = co_await open(std::move(source), executor);
  if (!opened) {
    // It was accepted once, by an earlier version of this server.
    if (is_refusal(opened.error())) co_return fail(ErrorCode::program_failed, "program " + program->name + ": " + opened.error().message);
    co_return fail(std::move(opened));
  }
  chosen.program = std::move(*opened);
  co_return chosen;
}

}  // namespace realm::http
