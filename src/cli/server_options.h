// What `realm server`, `realm pull` and `realm top` were asked for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/load_report.h"
#include "http/limits.h"
#include "http/load_client.h"

namespace realm::cli {

struct ServerSettings {
  std::vector<std::string> hosts = {"127.0.0.1"};
  uint32_t port = 8'080;
  std::string data;  // empty: data_folder()
  std::string tls_certificate;
  std::string tls_key;
  std::vector<std::string> model_folders;  // published at start
  uint64_t memory_mib_budget = 0;          // of models; 0: 80 % of what there is
  uint32_t model_deadline_ms = 120'000;
  bool anonymous = false;
  uint32_t realms_max = 16;
  uint32_t sequences_max = 256;
  uint32_t workers = 0;  // 0: as many as the machine has cores, at most 8
  uint32_t inter_token_target_ms = 60;
  uint32_t queue_deadline_ms = 60'000;
  uint64_t kv_mib_max = 0;  // of each model; 0: a quarter of the memory budget, at most 4 GiB
  uint64_t saved_kv_mib_max = 1'024;
  std::vector<std::string> cors_origins;
  std::vector<std::string> admin_hosts;
  http::HttpLimits limits;
};

// What `realm pull` was asked for.
struct PullSettings {
  std::string source;
  std::string data;  // empty: data_folder()
  std::string name;
  std::string sha256;
  bool allow_private = false;
  bool json = false;
};

// What `realm top` was asked for.
struct TopSettings {
  std::string data;  // empty: data_folder()
  double interval_s = 1;
  bool once = false;
  bool json = false;
};

// What `realm bench` was asked for.
struct BenchSettings {
  http::LoadOptions load;
  std::string keys_file;
  ServiceObjective objective;
  bool json = false;
};

}  // namespace realm::cli
