// The operator's commands.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace realm::cli {

struct RealmSettings {
  std::string name;
  std::string new_name;
  std::optional<double> weight;
  std::optional<std::vector<std::string>> models;
  std::map<std::string, std::optional<uint64_t>> limits;  // by the names of tenants::limit_fields
};

struct ProgramSettings {
  std::string file;
  std::string name;
  std::string version;   // a SHA-256; empty: the live one
  std::string manifest;  // a file; empty: none
  std::string input;     // a file; empty: standard input
  std::string realm;     // for whom the operator acts
  std::string endpoint;  // empty: $REALM_ENDPOINT, else the socket of the data folder
  std::string api_key;   // empty: $REALM_API_KEY
};

struct AdminSettings {
  std::string action;  // "create", "list", ...
  std::string data;    // empty: data_folder()
  bool json = false;
  RealmSettings realm;
  std::string key_id;
  std::string label;
  std::vector<std::string> scopes;
  uint32_t expires_days = 0;
  std::string model;
  std::vector<std::string> realms;  // for whom a model is
  std::string prefix;
  std::string file;  // with a prefix's text
  ProgramSettings program;
  std::string from;  // dates, for usage
  std::string to;
};

int run_realms_command(const AdminSettings& settings);
int run_keys_command(const AdminSettings& settings);
int run_models_command(const AdminSettings& settings);
int run_prefixes_command(const AdminSettings& settings);
int run_programs_command(const AdminSettings& settings);  // programs.cpp
int run_usage_command(const AdminSettings& settings);

}  // namespace realm::cli
