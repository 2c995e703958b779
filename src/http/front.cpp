#include "http/front.h"

#include <algorithm>
#include <boost/json.hpp>
#include <ctime>
#include <map>

#include "base/log.h"
#include "base/memory.h"
#include "http/openapi.h"

namespace realm::http {
namespace {

namespace json = boost::json;
using boost::beast::http::verb;

constexpr std::string_view admin_prefix = "/admin/v1/";
constexpr const char* cors_headers =
    "authorization, content-type, x-api-key, x-request-id, realm-manifest, anthropic-version, openai-organization";

bool may_use(const tenants::Realm& realm, const std::string& model) {
  return realm.models.empty() || std::find(realm.models.begin(), realm.models.end(), model) != realm.models.end();
}

}  // namespace

Front::Front(const FrontOptions& options, const HttpLimits& limits, runtime::Runtime& runtime, tenants::Tenants& tenants,
             models::Catalogue& catalogue, const models::ModelStore& store, models::PublishedPrefixes& prefixes)
    : options_(options),
      runtime_(runtime),
      tenants_(tenants),
      catalogue_(catalogue),
      store_(store),
      prefixes_(prefixes),
      values_(tenants.values()),
      residents_(runtime, options.realms_resident_max),
      gate_(options.gate, tenants, metrics_),
      admin_(
          tenants, &catalogue, &store, prefixes, [this] { return status(); },
          [this](const std::string& model) { publish_prefixes(model); }),
      programs_(runtime, tenants, options.realm_defaults),
      inference_(runtime, tenants, programs_, residents_, metrics_, limits, options.realm_defaults),
      started_unix_s_(std::time(nullptr)) {
  runtime_.set_store(values_);
  tenants_.on_realm_gone([this](const std::string& realm_id) {
    residents_.close(realm_id);
    runtime_.forget_programs(realm_id);
  });
}

Front::~Front() { tenants_.on_realm_gone({}); }

Protocol Front::protocol_of(const Request& request) const { return http::protocol_of(request.path); }

std::expected<std::unique_ptr<Caller>, Problem> Front::authorize(const Request& request) { return gate_.admit(request); }

void Front::note_connection(bool opened) { metrics_.connection(opened); }

void Front::note_connection_refused() { metrics_.refused("connections"); }

void Front::note_refused(const Request& request, const Problem& problem) {
  metrics_.refused(problem.code);
  metrics_.http_answered(problem.status);
  log_fields(spdlog::level::info, "refused",
             {{"request_id", request.id},
              {"traceparent", request.traceparent},
              {"route", request.path.empty() ? "" : request.route()},
              {"status", std::to_string(problem.status)},
              {"code", problem.code}});
}

bool Front::allows_origin(std::string_view origin) const {
  return std::any_of(options_.cors_origins.begin(), options_.cors_origins.end(),
                     [origin](const std::string& allowed) { return allowed == "*" || allowed == origin; });
}

void Front::add_headers(const Request& request, HeaderList& headers) const {
  const std::string_view origin = request.header("origin");
  if (origin.empty() || request.path.starts_with(admin_prefix) || !allows_origin(origin)) return;
  headers.emplace_back("Access-Control-Allow-Origin", std::string(origin));
  headers.emplace_back("Vary", "Origin");
  headers.emplace_back("Access-Control-Expose-Headers", "x-request-id, retry-after");
}

boost::asio::awaitable<Served> Front::serve(const Request& request, std::unique_ptr<Caller> caller, ClientIo& client) {
  auto& admitted = static_cast<Admitted&>(*caller);
  Served served;
  if (admitted.kind == RouteKind::program) {
    served = co_await inference_.serve(request, std::move(admitted.call), client);
  } else {
    Response response;
    if (admitted.kind == RouteKind::programs) {
      const tenants::RealmPointer realm = admitted.call.realm;
      const boost::asio::any_io_executor executor = client.executor();
      response = co_await programs_.answer(request, realm, executor);
      admitted.call.admission.settle(0);  // an upload counts as a request
      if (response.status == 422) metrics_.refused("program_refused");
    } else {
      response = answer(request, admitted);
    }
    served.status = response.status;
    const bool sent = co_await client.respond(request, response);
    served.client_gone = !sent;
    const bool changes = request.method != verb::get && request.method != verb::head;
    const bool noteworthy = admitted.kind == RouteKind::admin || (admitted.kind == RouteKind::programs && changes);
    log_fields(noteworthy ? spdlog::level::info : spdlog::level::debug, "answered",
               {{"request_id", request.id},
                {"realm", admitted.call.realm ? admitted.call.realm->name : ""},
                {"route", request.route()},
                {"status", std::to_string(response.status)}});
  }
  metrics_.http_answered(served.status);
  co_return served;
}

Response Front::answer(const Request& request, const Admitted& admitted) {
  switch (admitted.kind) {
    case RouteKind::models:
      return list_models(request, *admitted.call.realm);
    case RouteKind::admin:
      return admin_.answer({request.method, request.path.substr(admin_prefix.size()), request.query, request.body}, request.id);
    case RouteKind::health:
      return {.body = R"({"status":"ok"})"};
    case RouteKind::ready:
      if (draining()) return {.status = 503, .body = R"({"status":"draining"})"};
      return {.body = R"({"status":"ready"})"};
    case RouteKind::metrics:
      return metrics();
    case RouteKind::description:
      return {.body = std::string(openapi_document)};
    case RouteKind::preflight:
      return {.status = 204,
              .content_type = "",
              .body = {},
              .headers = {{"Allow", std::string(allowed_methods(request.path))},
                          {"Access-Control-Allow-Methods", std::string(allowed_methods(request.path))},
                          {"Access-Control-Allow-Headers", cors_headers},
                          {"Access-Control-Max-Age", "600"}}};
    case RouteKind::program:
    case RouteKind::programs:
    case RouteKind::bad_method:
    case RouteKind::unknown:
      break;
  }
  return problem_response(Protocol::openai, {404, "not_found", "there is no such path"}, request.id);
}

Response Front::list_models(const Request& request, const tenants::Realm& realm) const {
  constexpr std::string_view one = "/v1/models/";
  json::array data;
  for (const models::ModelRecord& record : catalogue_.list()) {
    if (!record.fault.empty() || !may_use(realm, record.name) || !catalogue_.find(record.name, realm.id)) continue;
    data.push_back(json::object{{"id", record.name},
                                {"object", "model"},
                                {"created", started_unix_s_},
                                {"owned_by", "realm"},
                                {"context_length", record.summary.context_tokens}});
  }
  if (!request.path.starts_with(one)) return {.body = json::serialize(json::object{{"object", "list"}, {"data", std::move(data)}})};
  const std::string_view name = std::string_view(request.path).substr(one.size());
  for (const json::value& model : data) {
    if (model.at("id").as_string() == name) return {.body = json::serialize(model)};
  }
  const Problem missing{
      .status = 404, .code = "model_not_found", .message = "there is no model '" + std::string(name) + "'", .param = "model"};
  return problem_response(Protocol::openai, missing, request.id);
}

void Front::publish_prefixes(const std::string& model) const {
  std::vector<std::string> texts;
  for (models::PublishedPrefix& prefix : prefixes_.list(model)) texts.push_back(std::move(prefix.text));
  runtime_.publish_prefixes(model, texts);
}

Response Front::metrics() const {
  MetricText text;
  text.family("realm_build_info", MetricText::Type::gauge, "The version that runs");
  text.sample(1, {{"version", options_.version}});
  metrics_.write(text);
  write_runtime_metrics(text, runtime_);
  const auto residents = residents_.stats();
  text.single("realm_resident_realms", MetricText::Type::gauge, "Realms with live requests or cached prefixes", residents.resident);
  text.single("realm_resident_realms_max", MetricText::Type::gauge, "--max-realms", residents.realms_max);
  text.single("realm_resident_evictions_total", MetricText::Type::counter, "Idle realms that made room",
              static_cast<double>(residents.evictions));
  const auto store = store_.stats();
  text.single("realm_model_memory_budget_bytes", MetricText::Type::gauge, "--memory-budget", static_cast<double>(store.budget_bytes));
  text.single("realm_model_memory_used_bytes", MetricText::Type::gauge, "Weights, KV and compute buffers of loaded models",
              static_cast<double>(store.used_bytes));
  text.single("realm_models_loaded", MetricText::Type::gauge, "Models in memory", store.models_loaded);
  text.single("realm_model_waiters", MetricText::Type::gauge, "Requests that wait for a model to be loaded", store.waiting);
  text.single("realm_model_loads_total", MetricText::Type::counter, "Models loaded", static_cast<double>(store.loads));
  text.single("realm_model_load_failures_total", MetricText::Type::counter, "Loads that failed", static_cast<double>(store.load_failures));
  text.single("realm_model_evictions_total", MetricText::Type::counter, "Idle models that made room", static_cast<double>(store.evictions));
  text.single("realm_model_load_seconds_total", MetricText::Type::counter, "Time of loads", static_cast<double>(store.load_ns) / 1e9);
  const auto stored = tenants_.programs().stats();
  text.single("realm_programs", MetricText::Type::gauge, "Programs that realms uploaded", static_cast<double>(stored.programs));
  text.single("realm_program_stored_bytes", MetricText::Type::gauge, "Their modules, all versions", static_cast<double>(stored.bytes));
  write_store_metrics(text);
  const auto tenants = tenants_.stats();
  text.single("realm_realms", MetricText::Type::gauge, "Realms that exist", tenants.realms);
  text.single("realm_authentications_total", MetricText::Type::counter, "Keys looked up", static_cast<double>(tenants.authentications));
  text.single("realm_authentications_refused_total", MetricText::Type::counter, "Keys refused",
              static_cast<double>(tenants.authentications_refused));
  text.single("realm_usage_write_failures_total", MetricText::Type::counter, "Usage batches that could not be written",
              static_cast<double>(tenants.usage.failures));
  text.single("realm_process_resident_bytes", MetricText::Type::gauge, "Resident memory of the process",
              static_cast<double>(process_memory().resident_bytes));
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = text.take()};
}

void Front::write_store_metrics(MetricText& text) const {
  const auto store = values_.stats();
  if (const auto bytes = tenants_.values().value_bytes()) {
    text.single("realm_store_bytes", MetricText::Type::gauge, "What programs keep, with keys and overhead", static_cast<double>(*bytes));
  }
  text.single("realm_store_reads_total", MetricText::Type::counter, "Values and lists of keys read", static_cast<double>(store.reads));
  text.single("realm_store_puts_total", MetricText::Type::counter, "Values put or deleted", static_cast<double>(store.puts));
  text.single("realm_store_puts_refused_total", MetricText::Type::counter, "Of those, beyond store_bytes_max",
              static_cast<double>(store.puts_refused));
  text.single("realm_store_turned_away_total", MetricText::Type::counter, "Calls that found too many others waiting",
              static_cast<double>(store.turned_away));
  text.single("realm_store_failures_total", MetricText::Type::counter, "Calls that the storage failed",
              static_cast<double>(store.failures));
}

std::string Front::status() const {
  json::array models;
  for (const auto& loaded : runtime_.models()) {
    const auto& scheduler = loaded.scheduler;
    models.push_back(json::object{{"name", loaded.model.name},
                                  {"sequences_active", scheduler.sequences_active},
                                  {"sequences_waiting", scheduler.sequences_waiting},
                                  {"kv_tokens_reserved", scheduler.kv_tokens_reserved},
                                  {"kv_tokens_capacity", scheduler.kv_tokens_capacity},
                                  {"decode_tokens", scheduler.decode_tokens},
                                  {"prefill_tokens", scheduler.prefill_tokens}});
  }
  json::array realms;
  std::map<std::string, std::string> names;
  for (const tenants::RealmPointer& realm : tenants_.realms()) names.emplace(realm->id, realm->name);
  for (const auto& activity : runtime_.realm_activity()) {
    const auto named = names.find(activity.tenant_id);
    realms.push_back(json::object{{"name", named == names.end() ? activity.tenant_id : named->second},
                                  {"requests_running", activity.requests_running},
                                  {"sequences_active", activity.sequences_active},
                                  {"sequences_waiting", activity.sequences_waiting},
                                  {"kv_tokens_reserved", activity.kv_tokens_reserved},
                                  {"prompt_tokens", activity.prompt_tokens},
                                  {"generation_tokens", activity.generation_tokens}});
  }
  const auto residents = residents_.stats();
  return json::serialize(json::object{{"version", options_.version},
                                      {"started", started_unix_s_},
                                      {"draining", draining()},
                                      {"requests_running", metrics_.requests_running()},
                                      {"resident_realms", residents.resident},
                                      {"resident_realms_max", residents.realms_max},
                                      {"resident_bytes", process_memory().resident_bytes},
                                      {"models", std::move(models)},
                                      {"realms", std::move(realms)}});
}

}  // namespace realm::http
