// `realm bench`: load for a server with OpenAI's API, and how it was answered.
#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <cstdio>
#include <fstream>

#include "cli/admin_call.h"
#include "cli/commands.h"
#include "cli/load_report.h"
#include "cli/paths.h"

namespace realm::cli {
namespace {

constexpr size_t keys_max = 100'000;

// A key on each line.
Result<std::vector<std::string>> read_keys(const std::string& name) {
  std::ifstream file(name);
  if (!file) return fail(ErrorCode::not_found, "file " + name + ": cannot be opened");
  std::vector<std::string> keys;
  for (std::string line; std::getline(file, line) && keys.size() < keys_max;) {
    if (!line.empty()) keys.push_back(std::move(line));
  }
  if (keys.empty()) return fail(ErrorCode::invalid_argument, "file " + name + ": has no keys");
  return keys;
}

Result<http::LoadOptions> load_options(const BenchSettings& settings) {
  http::LoadOptions load = settings.load;
  if (load.url.empty()) load.url = environment("REALM_ENDPOINT");
  if (load.url.empty()) load.url = "http://127.0.0.1:8080";
  if (!settings.keys_file.empty()) {
    auto keys = read_keys(settings.keys_file);
    if (!keys) return fail(std::move(keys));
    load.keys = std::move(*keys);
  }
  if (std::string key = environment("REALM_API_KEY"); load.keys.empty() && !key.empty()) load.keys.push_back(std::move(key));
  return load;
}

}  // namespace

int run_bench(const BenchSettings& settings, Interrupts& interrupts) {
  auto load = load_options(settings);
  if (!load) return report(load.error());
  std::atomic<bool> stop = false;
  interrupts.on_interrupt([&stop] { stop = true; });
  auto records = http::run_load(*load, stop);
  interrupts.on_interrupt(nullptr);
  if (!records) return report(records.error());
  const uint32_t served_max = load->chats_per_second > 0 ? load->chats : std::min(load->streams, load->chats);
  const uint32_t customers = std::clamp<uint32_t>(static_cast<uint32_t>(load->keys.size()), 1, served_max);
  const boost::json::object figures = load_report(*records, settings.objective, customers);
  if (settings.json) {
    std::printf("%s\n", boost::json::serialize(figures).c_str());
  } else {
    for (const std::string& line : load_report_lines(figures)) std::printf("%s\n", line.c_str());
  }
  return figures.at("requests_failed").to_number<uint64_t>() == 0 && !records->empty() ? 0 : 1;
}

}  // namespace realm::cli
