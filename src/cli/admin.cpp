// `realm realms`, `realm keys`, `realm usage`: through the server of the data folder when one runs, else on its database.
#include "cli/admin.h"

#include <boost/json.hpp>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>

#include "cli/admin_call.h"
#include "cli/table.h"

namespace realm::cli {
namespace {

namespace json = boost::json;
using boost::beast::http::verb;

void print_realm(const json::value& realm) {
  std::printf("name     %s\nid       %s\nweight   %s\nmodels   %s\n", cell(realm.at("name")).c_str(), cell(realm.at("id")).c_str(),
              cell(realm.at("weight")).c_str(), realm.at("models").as_array().empty() ? "all" : cell(realm.at("models")).c_str());
  for (const auto& [name, value] : realm.at("limits").as_object()) {
    if (value.to_number<uint64_t>() != 0) std::printf("%s  %s\n", std::string(name).c_str(), cell(value).c_str());
  }
}

json::object realm_fields(const RealmSettings& settings) {
  json::object body;
  if (settings.weight) body["weight"] = *settings.weight;
  if (settings.models) body["models"] = json::value_from(*settings.models);
  json::object limits;
  for (const auto& [name, value] : settings.limits) {
    if (value) limits[name] = *value;
  }
  if (!limits.empty()) body["limits"] = std::move(limits);
  return body;
}

int list_realms(Admin& admin) {
  return admin.finish(admin.call({.method = verb::get, .path = "realms"}), [](const json::value& answer) {
    std::vector<std::vector<std::string>> rows = {{"NAME", "ID", "WEIGHT", "MODELS", "CREATED"}};
    for (const json::value& realm : answer.at("data").as_array()) {
      rows.push_back({cell(realm.at("name")), cell(realm.at("id")), cell(realm.at("weight")),
                      realm.at("models").as_array().empty() ? "all" : cell(realm.at("models")), time_cell(realm.at("created"))});
    }
    print_table(rows);
  });
}

}  // namespace

int run_realms_command(const AdminSettings& settings) {
  Admin admin(settings.data, settings.json);
  const std::string path = "realms/" + settings.realm.name;
  if (settings.action == "list") return list_realms(admin);
  if (settings.action == "show") return admin.finish(admin.call({.method = verb::get, .path = path}), print_realm);
  if (settings.action == "delete") {
    return admin.finish(admin.call({.method = verb::delete_, .path = path}),
                        [&](const json::value&) { std::printf("realm %s is deleted\n", settings.realm.name.c_str()); });
  }
  json::object body = realm_fields(settings.realm);
  if (settings.action == "set") {
    if (!settings.realm.new_name.empty()) body["name"] = settings.realm.new_name;
    return admin.finish(admin.call({.method = verb::patch, .path = path, .body = json::serialize(body)}), print_realm);
  }
  body["name"] = settings.realm.name;
  return admin.finish(admin.call({.method = verb::post, .path = "realms", .body = json::serialize(body)}), [&](const json::value&) {
    std::printf("realm %s is there; `realm keys create %s` makes a key for it\n", settings.realm.name.c_str(), settings.realm.name.c_str());
  });
}

int run_keys_command(const AdminSettings& settings) {
  Admin admin(settings.data, settings.json);
  const std::string path = settings.realm.name.empty() ? "keys" : "realms/" + settings.realm.name + "/keys";
  if (settings.action == "revoke") {
    return admin.finish(admin.call({.method = verb::delete_, .path = "keys/" + settings.key_id}),
                        [](const json::value& key) { std::printf("key %s is revoked\n", cell(key.at("id")).c_str()); });
  }
  if (settings.action == "create") {
    json::object body{{"label", settings.label}};
    if (!settings.scopes.empty()) body["scopes"] = json::value_from(settings.scopes);
    if (settings.expires_days > 0) body["expires"] = static_cast<int64_t>(std::time(nullptr)) + int64_t{settings.expires_days} * 86'400;
    return admin.finish(admin.call({.method = verb::post, .path = path, .body = json::serialize(body)}), [](const json::value& key) {
      std::printf("%s\n", cell(key.at("key")).c_str());
      std::fprintf(stderr, "This is the only time that the key is shown. Its id is %s.\n", cell(key.at("id")).c_str());
    });
  }
  return admin.finish(admin.call({.method = verb::get, .path = path}), [](const json::value& answer) {
    std::vector<std::vector<std::string>> rows = {{"ID", "LABEL", "SCOPES", "CREATED", "EXPIRES", "LAST USED", "REVOKED"}};
    for (const json::value& key : answer.at("data").as_array()) {
      rows.push_back({cell(key.at("id")), cell(key.at("label")), cell(key.at("scopes")), time_cell(key.at("created")),
                      time_cell(key.at("expires")), time_cell(key.at("last_used")), time_cell(key.at("revoked"))});
    }
    print_table(rows);
  });
}

int run_usage_command(const AdminSettings& settings) {
  Admin admin(settings.data, settings.json);
  std::string query;
  const auto add = [&query](const char* name, const std::string& value) {
    if (!value.empty()) query += (query.empty() ? "" : "&") + std::string(name) + "=" + value;
  };
  add("realm", settings.realm.name);
  add("from", settings.from);
  add("to", settings.to);
  return admin.finish(admin.call({.method = verb::get, .path = "usage", .query = query}), [](const json::value& answer) {
    static constexpr const char* columns[] = {
        "date",         "realm",           "model", "key", "requests", "errors", "prompt_tokens", "cached_tokens", "completion_tokens",
        "guest_cpu_ms", "kv_token_seconds"};
    std::vector<std::vector<std::string>> rows(1);
    for (const char* column : columns) rows.front().emplace_back(column);
    for (const json::value& row : answer.at("data").as_array()) {
      rows.emplace_back();
      for (const char* column : columns) rows.back().push_back(cell(row.at(column)));
    }
    print_table(rows);
  });
}

int run_models_command(const AdminSettings& settings) {
  Admin admin(settings.data, settings.json);
  const std::string path = "models/" + settings.model;
  if (settings.action == "rm") {
    return admin.finish(admin.call({.method = verb::delete_, .path = path}),
                        [&](const json::value&) { std::printf("model %s is deleted\n", settings.model.c_str()); });
  }
  if (settings.action != "list") {
    json::object body;
    if (settings.action == "pin" || settings.action == "unpin") body["pinned"] = settings.action == "pin";
    if (settings.action == "allow") body["realms"] = json::value_from(settings.realms);
    return admin.finish(admin.call({.method = verb::patch, .path = path, .body = json::serialize(body)}),
                        [&](const json::value&) { std::printf("done\n"); });
  }
  return admin.finish(admin.call({.method = verb::get, .path = "models"}), [](const json::value& answer) {
    std::vector<std::vector<std::string>> rows = {
        {"NAME", "STATE", "MIB", "ARCHITECTURE", "QUANTIZATION", "CONTEXT", "PINNED", "REALMS", "FAULT"}};
    for (const json::value& model : answer.at("data").as_array()) {
      rows.push_back({cell(model.at("name")), cell(model.at("state")), std::to_string(model.at("bytes").to_number<uint64_t>() >> 20),
                      cell(model.at("architecture")), cell(model.at("quantization")), cell(model.at("context_tokens")),
                      model.at("pinned").as_bool() ? "yes" : "-", model.at("realms").as_array().empty() ? "all" : cell(model.at("realms")),
                      cell(model.at("fault"))});
    }
    print_table(rows);
  });
}

int run_prefixes_command(const AdminSettings& settings) {
  Admin admin(settings.data, settings.json);
  const std::string list = "models/" + settings.model + "/prefixes";
  const std::string path = list + "/" + settings.prefix;
  if (settings.action == "rm") {
    return admin.finish(admin.call({.method = verb::delete_, .path = path}),
                        [&](const json::value&) { std::printf("prefix %s is not published any more\n", settings.prefix.c_str()); });
  }
  if (settings.action == "add") {
    std::ifstream in(settings.file, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    if (!in) return report({ErrorCode::io, settings.file + ": cannot be read"});
    const std::string body = json::serialize(json::object{{"text", text}});
    return admin.finish(admin.call({.method = verb::put, .path = path, .body = body}),
                        [&](const json::value&) { std::printf("prefix %s is published\n", settings.prefix.c_str()); });
  }
  return admin.finish(admin.call({.method = verb::get, .path = list}), [](const json::value& answer) {
    std::vector<std::vector<std::string>> rows = {{"NAME", "BYTES"}};
    for (const json::value& prefix : answer.at("data").as_array()) rows.push_back({cell(prefix.at("name")), cell(prefix.at("bytes"))});
    print_table(rows);
  });
}

}  // namespace realm::cli
