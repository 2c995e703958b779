#include "http/admin_api.h"

#include <boost/json.hpp>
#include <charconv>
#include <chrono>
#include <optional>

#include "http/problem.h"
#include "http/request_head.h"
#include "models/file_name.h"

namespace realm::http {
namespace {

namespace json = boost::json;
using boost::beast::http::verb;
using tenants::Tenants;

json::object shown(const tenants::Realm& realm) {
  json::object limits;
  for (const tenants::LimitField& field : tenants::limit_fields) limits[field.name] = realm.limits.*field.member;
  return {{"id", realm.id},
          {"name", realm.name},
          {"weight", realm.weight},
          {"models", json::value_from(realm.models)},
          {"limits", std::move(limits)},
          {"created", realm.created_unix_s},
          {"revision", realm.revision}};
}

json::object shown(const tenants::Key& key) {
  json::array scopes;
  if ((key.scopes & tenants::scope_inference) != 0) scopes.emplace_back("inference");
  if ((key.scopes & tenants::scope_admin) != 0) scopes.emplace_back("admin");
  const auto time = [](int64_t unix_s) { return unix_s == 0 ? json::value(nullptr) : json::value(unix_s); };
  return {{"id", key.id},
          {"label", key.label},
          {"scopes", std::move(scopes)},
          {"created", key.created_unix_s},
          {"expires", time(key.expires_unix_s)},
          {"last_used", time(key.last_used_unix_s)},
          {"revoked", time(key.revoked_unix_s)}};
}

json::object shown(const tenants::Usage& row) {
  return {{"realm", row.realm},
          {"model", row.model},
          {"key", row.key_id},
          {"date", date_text(row.day)},
          {"requests", row.requests},
          {"errors", row.errors},
          {"prompt_tokens", row.prompt_tokens},
          {"cached_tokens", row.cached_tokens},
          {"completion_tokens", row.completion_tokens},
          {"guest_cpu_ms", row.guest_cpu_us / 1'000},
          {"kv_token_seconds", row.kv_token_ms / 1'000}};
}

template <class Rows>
json::object list(const Rows& rows) {
  json::array data;
  for (const auto& row : rows) data.push_back(shown(row));
  return {{"data", std::move(data)}};
}

std::unexpected<Error> bad(std::string message) { return fail(ErrorCode::invalid_argument, std::move(message)); }

// An empty body is an empty object where nothing in it is required.
Result<json::object> parse_body(const AdminCall& call) {
  const std::string& body = call.body;
  if (body.empty() && call.method == verb::post) return json::object();
  boost::system::error_code error;
  json::parse_options options;
  options.max_depth = 8;
  auto value = json::parse(body, error, {}, options);
  if (error || !value.is_object()) return bad("the body must be a JSON object");
  return std::move(value.get_object());
}

Result<std::string> text_of(const json::value& value, std::string_view field) {
  if (!value.is_string()) return bad(std::string(field) + ": must be a string");
  return std::string(value.get_string());
}

Result<uint64_t> natural_of(const json::value& value, std::string_view field) {
  boost::system::error_code error;
  const auto number = value.to_number<uint64_t>(error);
  if (error) return bad(std::string(field) + ": must be a whole number from 0 up");
  return number;
}

Result<std::vector<std::string>> texts_of(const json::value& value, std::string_view field) {
  std::vector<std::string> texts;
  if (!value.is_array()) return bad(std::string(field) + ": must be a list of strings");
  for (const json::value& one : value.get_array()) {
    auto text = text_of(one, field);
    if (!text) return fail(std::move(text));
    texts.push_back(std::move(*text));
  }
  return texts;
}

Result<void> apply_limits(const json::value& value, tenants::Limits& limits) {
  if (!value.is_object()) return bad("limits: must be an object");
  for (const auto& [name, number] : value.get_object()) {
    const auto field = std::find_if(std::begin(tenants::limit_fields), std::end(tenants::limit_fields),
                                    [&name](const tenants::LimitField& one) { return name == one.name; });
    if (field == std::end(tenants::limit_fields)) return bad("limits: there is no limit " + std::string(name));
    const auto set = natural_of(number, field->name);
    if (!set) return std::unexpected(set.error());
    limits.*field->member = *set;
  }
  return {};
}

// Sets what the body names.
Result<void> apply(const json::object& body, tenants::Realm& realm) {
  for (const auto& [name, value] : body) {
    if (name == "name") {
      auto text = text_of(value, "name");
      if (!text) return std::unexpected(text.error());
      realm.name = std::move(*text);
    } else if (name == "weight") {
      boost::system::error_code error;
      realm.weight = value.to_number<double>(error);
      if (error) return bad("weight: must be a number");
    } else if (name == "models") {
      auto models = texts_of(value, "models");
      if (!models) return std::unexpected(models.error());
      realm.models = std::move(*models);
    } else if (name == "limits") {
      if (auto done = apply_limits(value, realm.limits); !done) return done;
    } else {
      return bad("there is no field " + std::string(name));
    }
  }
  return {};
}

Result<uint32_t> scopes_of(const json::value& value) {
  const auto names = texts_of(value, "scopes");
  if (!names) return std::unexpected(names.error());
  uint32_t scopes = 0;
  for (const std::string& name : *names) {
    if (name != "inference" && name != "admin") return bad("scopes: inference and admin are known");
    scopes |= name == "admin" ? tenants::scope_admin : tenants::scope_inference;
  }
  return scopes;
}

Result<json::value> make_key(Tenants& tenants, const std::string& realm, const json::object& body) {
  uint32_t scopes = realm.empty() ? tenants::scope_admin : tenants::scope_inference;
  std::string label;
  uint64_t expires = 0;
  for (const auto& [name, value] : body) {
    if (name == "scopes") {
      const auto set = scopes_of(value);
      if (!set) return std::unexpected(set.error());
      scopes = *set;
    } else if (name == "label") {
      auto text = text_of(value, "label");
      if (!text) return std::unexpected(text.error());
      label = std::move(*text);
    } else if (name == "expires") {
      const auto time = natural_of(value, "expires");
      if (!time) return std::unexpected(time.error());
      expires = *time;
    } else {
      return bad("there is no field " + std::string(name));
    }
  }
  auto created = tenants.create_key(realm, scopes, std::move(label), static_cast<int64_t>(expires));
  if (!created) return fail(std::move(created));
  json::object answer = shown(created->key);
  answer["key"] = created->text;
  return answer;
}

Result<json::value> answer_realms(Tenants& tenants, const AdminCall& call) {
  if (call.method == verb::get) {
    json::array data;
    for (const auto& realm : tenants.realms()) data.push_back(shown(*realm));
    return json::object{{"data", std::move(data)}};
  }
  const auto body = parse_body(call);
  if (!body) return std::unexpected(body.error());
  tenants::Realm draft;
  if (auto done = apply(*body, draft); !done) return std::unexpected(done.error());
  const auto realm = tenants.create_realm(std::move(draft));
  if (!realm) return std::unexpected(realm.error());
  return shown(**realm);
}

Result<json::value> answer_realm(Tenants& tenants, const AdminCall& call, const std::string& name) {
  if (call.method == verb::delete_) {
    if (auto done = tenants.delete_realm(name); !done) return std::unexpected(done.error());
    return json::object{{"deleted", name}};
  }
  Result<tenants::RealmPointer> realm = tenants.realm(name);
  if (call.method == verb::patch) {
    const auto body = parse_body(call);
    if (!body) return std::unexpected(body.error());
    realm = tenants.update_realm(name, [&body](tenants::Realm& changed) { return apply(*body, changed); });
  }
  if (!realm) return std::unexpected(realm.error());
  return shown(**realm);
}

Result<json::value> answer_keys(Tenants& tenants, const AdminCall& call, const std::string& realm) {
  if (call.method == verb::get) {
    const auto keys = tenants.keys(realm);
    if (!keys) return std::unexpected(keys.error());
    return list(*keys);
  }
  const auto body = parse_body(call);
  if (!body) return std::unexpected(body.error());
  return make_key(tenants, realm, *body);
}

Result<json::value> answer_revoke(Tenants& tenants, const std::string& id) {
  const auto key = tenants.revoke_key(id);
  if (!key) return std::unexpected(key.error());
  return shown(*key);
}

Result<json::value> answer_usage(Tenants& tenants, const AdminCall& call) {
  tenants::UsageQuery query;
  for (const auto& [name, value] : parse_query(call.query)) {
    if (name == "realm") {
      const auto realm = tenants.realm(value);
      if (!realm) return std::unexpected(realm.error());
      query.realm_id = (*realm)->id;
    } else if (name == "from" || name == "to") {
      const int64_t day = parse_date(value);
      if (day < 0) return bad(name + ": must be a date such as 2026-11-24");
      (name == "from" ? query.first_day : query.last_day) = day;
    } else {
      return bad("there is no parameter " + name);
    }
  }
  const auto rows = tenants.usage(query);
  if (!rows) return std::unexpected(rows.error());
  return list(*rows);
}

std::string_view state_name(models::ModelState::Kind kind) {
  switch (kind) {
    case models::ModelState::absent:
      return "absent";
    case models::ModelState::loading:
      return "loading";
    case models::ModelState::ready:
      return "ready";
    case models::ModelState::in_use:
      return "in use";
    case models::ModelState::failed:
      break;
  }
  return "failed";
}

json::object shown(const models::ModelRecord& record, const models::ModelStore* store) {
  models::ModelState state;
  if (store != nullptr) state = store->state(record);
  if (!record.fault.empty()) state = {models::ModelState::failed, 0, record.fault, 0};
  return {{"name", record.name},
          {"file", record.file.string()},
          {"sha256", record.sha256},
          {"bytes", record.summary.bytes},
          {"architecture", record.summary.architecture},
          {"quantization", record.summary.quantization},
          {"parameters", record.summary.parameters},
          {"context_tokens", record.summary.context_tokens},
          {"pinned", record.pinned},
          {"realms", json::value_from(record.realm_ids)},
          {"state", state_name(state.kind)},
          {"leases", state.leases},
          {"loaded_bytes", state.bytes},
          {"fault", state.fault.empty() ? json::value(nullptr) : json::value(state.fault)}};
}

Result<std::vector<std::string>> realm_ids(const Tenants& tenants, const json::value& value) {
  const auto names = texts_of(value, "realms");
  if (!names) return std::unexpected(names.error());
  std::vector<std::string> ids;
  for (const std::string& name : *names) {
    const auto realm = tenants.realm(name);
    if (!realm) return std::unexpected(realm.error());
    ids.push_back((*realm)->id);
  }
  return ids;
}

Result<json::value> change_model(const Tenants& tenants, models::Catalogue& catalogue, const AdminCall& call, const std::string& name) {
  const auto body = parse_body(call);
  if (!body) return std::unexpected(body.error());
  std::optional<bool> pinned;
  std::optional<std::vector<std::string>> ids;
  for (const auto& [field, value] : *body) {
    if (field == "pinned") {
      if (!value.is_bool()) return bad("pinned: must be true or false");
      pinned = value.get_bool();
    } else if (field == "realms") {
      auto found = realm_ids(tenants, value);
      if (!found) return std::unexpected(found.error());
      ids = std::move(*found);
    } else {
      return bad("there is no field " + std::string(field));
    }
  }
  const auto models = catalogue.list();
  if (std::none_of(models.begin(), models.end(), [&name](const auto& model) { return model.name == name; })) {
    return fail(ErrorCode::not_found, "there is no model of this name");
  }
  if (pinned) {
    if (auto done = catalogue.set_pinned(name, *pinned); !done) return std::unexpected(done.error());
  }
  if (ids) {
    if (auto done = catalogue.set_access(name, std::move(*ids)); !done) return std::unexpected(done.error());
  }
  return json::object{{"name", name}};
}

Result<json::value> answer_models(Tenants& tenants, models::Catalogue& catalogue, const models::ModelStore* store, const AdminCall& call,
                                  const std::vector<std::string>& parts) {
  if (parts.size() == 1 && call.method == verb::get) {
    json::array data;
    for (const models::ModelRecord& record : catalogue.list()) data.push_back(shown(record, store));
    return json::object{{"data", std::move(data)}};
  }
  if (parts.size() == 1 && call.method == verb::post) {  // look for new files
    if (auto done = catalogue.rescan(); !done) return std::unexpected(done.error());
    return json::object{{"models", catalogue.list().size()}};
  }
  if (parts.size() == 2 && call.method == verb::patch) return change_model(tenants, catalogue, call, parts[1]);
  if (parts.size() == 2 && call.method == verb::delete_) {
    if (auto done = catalogue.remove(parts[1]); !done) return std::unexpected(done.error());
    return json::object{{"deleted", parts[1]}};
  }
  return fail(ErrorCode::not_found, "there is no such path below /admin/v1");
}

// models/MODEL/prefixes and models/MODEL/prefixes/NAME
Result<json::value> answer_prefixes(models::PublishedPrefixes& prefixes, const AdminApi::PrefixesChanged& changed, const AdminCall& call,
                                    const std::vector<std::string>& parts) {
  if (!models::is_model_name(parts[1])) return fail(ErrorCode::not_found, "there is no such model");
  if (parts.size() == 3 && call.method == verb::get) {
    json::array data;
    for (const auto& prefix : prefixes.list(parts[1])) data.push_back({{"name", prefix.name}, {"bytes", prefix.text.size()}});
    return json::object{{"data", std::move(data)}};
  }
  if (parts.size() != 4 || (call.method != verb::put && call.method != verb::delete_)) {
    return fail(ErrorCode::not_found, "there is no such path below /admin/v1");
  }
  if (call.method == verb::put) {
    const auto body = parse_body(call);
    if (!body) return std::unexpected(body.error());
    if (body->size() != 1 || !body->contains("text")) return bad("the body must be an object with the field text alone");
    auto text = text_of(body->at("text"), "text");
    if (!text) return std::unexpected(text.error());
    if (auto done = prefixes.put(parts[1], {parts[3], std::move(*text)}); !done) return std::unexpected(done.error());
  } else if (auto done = prefixes.remove(parts[1], parts[3]); !done) {
    return std::unexpected(done.error());
  }
  if (changed) changed(parts[1]);
  return call.method == verb::put ? json::object{{"name", parts[3]}} : json::object{{"deleted", parts[3]}};
}

// The parts of a path; of what is longer than any path here, the first 5.
std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty() && parts.size() < 5) {
    parts.emplace_back(path.substr(0, path.find('/')));
    path.remove_prefix(std::min(parts.back().size() + 1, path.size()));
  }
  return parts;
}

std::unexpected<Error> no_such_path() { return fail(ErrorCode::not_found, "there is no such path below /admin/v1"); }

Result<json::value> dispatch(Tenants& tenants, models::Catalogue* catalogue, const models::ModelStore* store, const AdminCall& call,
                             const std::vector<std::string>& parts) {
  const bool reads = call.method == verb::get;
  const bool makes = call.method == verb::post;
  if (parts[0] == "realms") {
    if (parts.size() == 1 && (reads || makes)) return answer_realms(tenants, call);
    if (parts.size() == 2 && (reads || call.method == verb::patch || call.method == verb::delete_))
      return answer_realm(tenants, call, parts[1]);
    if (parts.size() == 3 && parts[2] == "keys" && (reads || makes)) return answer_keys(tenants, call, parts[1]);
  }
  if (parts[0] == "keys") {
    if (parts.size() == 1 && (reads || makes)) return answer_keys(tenants, call, "");
    if (parts.size() == 2 && call.method == verb::delete_) return answer_revoke(tenants, parts[1]);
  }
  if (parts[0] == "models" && catalogue != nullptr) return answer_models(tenants, *catalogue, store, call, parts);
  if (parts[0] == "usage" && parts.size() == 1 && reads) return answer_usage(tenants, call);
  return no_such_path();
}

}  // namespace

std::string date_text(int64_t day) {
  const std::chrono::year_month_day date{std::chrono::sys_days{std::chrono::days{day}}};
  char text[32];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()));
  return text;
}

int64_t parse_date(std::string_view text) {
  int year = 0;
  unsigned month = 0, day = 0;
  const auto number = [&text](size_t at, size_t count, auto& value) {
    const char* end = text.data() + at + count;
    return std::from_chars(text.data() + at, end, value).ptr == end;
  };
  if (text.size() != 10 || text[4] != '-' || text[7] != '-' || !number(0, 4, year) || !number(5, 2, month) || !number(8, 2, day)) return -1;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  return date.ok() ? std::chrono::sys_days(date).time_since_epoch().count() : -1;
}

Response AdminApi::answer(const AdminCall& call, std::string_view request_id) {
  if (call.path == "status" && call.method == verb::get && status_) return {.body = status_()};
  const auto parts = parts_of(call.path);
  const bool about_prefixes = parts.size() >= 3 && parts[0] == "models" && parts[2] == "prefixes";
  const auto answer = parts.empty()    ? Result<json::value>(no_such_path())
                      : about_prefixes ? answer_prefixes(prefixes_, prefixes_changed_, call, parts)
                                       : dispatch(tenants_, catalogue_, store_, call, parts);
  if (!answer) return problem_response(Protocol::admin, problem_of(answer.error()), request_id);
  return {.status = static_cast<uint16_t>(call.method == verb::post ? 201 : 200), .body = json::serialize(*answer)};
}

}  // namespace realm::http
