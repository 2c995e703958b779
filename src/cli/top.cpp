// `realm top`: what a running server does, drawn anew every second.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <map>
#include <mutex>

#include "cli/admin_call.h"
#include "cli/commands.h"
#include "cli/table.h"

namespace realm::cli {
namespace {

namespace json = boost::json;
using boost::beast::http::verb;
using Clock = std::chrono::steady_clock;

constexpr size_t lines_default = 40;  // when the terminal does not say
constexpr double mib = 1 << 20;

struct Sample {
  json::value status;
  Clock::time_point taken;
};

uint64_t count(const json::value& object, const char* name) {
  const json::value* value = object.as_object().if_contains(name);
  return value != nullptr && value->is_number() ? value->to_number<uint64_t>() : 0;
}

// How fast a counter of the row with this name grew, per second. A counter that fell began anew.
class Rates {
 public:
  Rates(const Sample& before, const Sample& now, const char* list)
      : seconds_(std::max(std::chrono::duration<double>(now.taken - before.taken).count(), 1e-3)) {
    for (const json::value& row : before.status.at(list).as_array()) before_.emplace(row.at("name").as_string(), &row);
  }
  double of(const json::value& row, const char* counter) const {
    const auto found = before_.find(row.at("name").as_string());
    const uint64_t old = found == before_.end() ? 0 : count(*found->second, counter);
    const uint64_t now = count(row, counter);
    return static_cast<double>(now >= old ? now - old : now) / seconds_;
  }

 private:
  const double seconds_;
  std::map<std::string_view, const json::value*> before_;
};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value >= 100 ? "%.0f" : "%.1f", value);
  return text;
}

std::string percent(uint64_t part, uint64_t whole) {
  return whole == 0 ? "-" : number(100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::vector<std::string> model_lines(const Sample& before, const Sample& now) {
  const Rates rates(before, now, "models");
  std::vector<std::vector<std::string>> rows = {{"MODEL", "ACTIVE", "WAITING", "TOKENS/S", "PROMPT/S", "KV %"}};
  for (const json::value& model : now.status.at("models").as_array()) {
    rows.push_back({cell(model.at("name")), cell(model.at("sequences_active")), cell(model.at("sequences_waiting")),
                    number(rates.of(model, "decode_tokens")), number(rates.of(model, "prefill_tokens")),
                    percent(count(model, "kv_tokens_reserved"), count(model, "kv_tokens_capacity"))});
  }
  return table_lines(rows);
}

std::vector<std::string> realm_lines(const Sample& before, const Sample& now) {
  const Rates rates(before, now, "realms");
  std::vector<const json::value*> realms;
  for (const json::value& realm : now.status.at("realms").as_array()) realms.push_back(&realm);
  std::sort(realms.begin(), realms.end(), [&rates](const json::value* a, const json::value* b) {
    const double rate_a = rates.of(*a, "generation_tokens");
    const double rate_b = rates.of(*b, "generation_tokens");
    return rate_a != rate_b ? rate_a > rate_b : a < b;  // of one rate: as the server listed them
  });
  std::vector<std::vector<std::string>> rows = {{"REALM", "REQUESTS", "ACTIVE", "WAITING", "TOKENS/S", "PROMPT/S", "KV TOKENS"}};
  for (const json::value* realm : realms) {
    rows.push_back({cell(realm->at("name")), cell(realm->at("requests_running")), cell(realm->at("sequences_active")),
                    cell(realm->at("sequences_waiting")), number(rates.of(*realm, "generation_tokens")),
                    number(rates.of(*realm, "prompt_tokens")), cell(realm->at("kv_tokens_reserved"))});
  }
  return table_lines(rows);
}

std::vector<std::string> page(const Sample& before, const Sample& now) {
  const json::value& status = now.status;
  const auto up_s = static_cast<uint64_t>(std::max<int64_t>(std::time(nullptr) - status.at("started").to_number<int64_t>(), 0));
  char head[256];
  std::snprintf(head, sizeof head, "realm %s  up %llu:%02llu:%02llu  %s requests  %s of %s realms resident  %.0f MiB%s",
                cell(status.at("version")).c_str(), static_cast<unsigned long long>(up_s / 3'600),
                static_cast<unsigned long long>(up_s / 60 % 60), static_cast<unsigned long long>(up_s % 60),
                cell(status.at("requests_running")).c_str(), cell(status.at("resident_realms")).c_str(),
                cell(status.at("resident_realms_max")).c_str(), static_cast<double>(count(status, "resident_bytes")) / mib,
                status.at("draining").as_bool() ? "  draining" : "");
  std::vector<std::string> lines = {head, ""};
  for (std::string& line : model_lines(before, now)) lines.push_back(std::move(line));
  lines.emplace_back();
  for (std::string& line : realm_lines(before, now)) lines.push_back(std::move(line));
  return lines;
}

// Over what was there before, without a flicker: each line clears its rest, the last one what is below.
void draw(const std::vector<std::string>& lines) {
  winsize size{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1;
  const size_t most = known ? size.ws_row - 1u : lines_default;
  std::printf("\033[H");
  for (size_t i = 0; i < std::min(lines.size(), most); ++i) {
    std::printf("%s\033[K\n", known ? lines[i].substr(0, size.ws_col).c_str() : lines[i].c_str());
  }
  std::printf("\033[J");
  std::fflush(stdout);
}

class Pause {
 public:
  explicit Pause(Interrupts& interrupts) : interrupts_(interrupts) {
    interrupts_.on_interrupt([this] {
      std::lock_guard lock(mutex_);
      over_ = true;
      changed_.notify_all();
    });
  }
  ~Pause() { interrupts_.on_interrupt(nullptr); }
  // False when the person wants to leave.
  bool wait(double seconds) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return over_; });
  }

 private:
  Interrupts& interrupts_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;  // guarded
};

Result<Sample> sample(const Admin& admin) {
  auto status = admin.call_server({.method = verb::get, .path = "status"});
  if (status) return Sample{std::move(*status), Clock::now()};
  if (status.error().code != ErrorCode::unavailable) return fail(std::move(status));
  return fail(ErrorCode::unavailable, "no server runs on " + admin.folder().string() + "; start one with `realm server`, or see --data");
}

}  // namespace

int run_top(const TopSettings& settings, Interrupts& interrupts) {
  Admin admin(settings.data, settings.json);
  if (settings.json) return admin.finish(admin.call_server({.method = verb::get, .path = "status"}), [](const json::value&) {});
  auto before = sample(admin);
  if (!before) return report(before.error());
  const bool live = stdout_is_terminal() && !settings.once;
  Pause pause(interrupts);
  if (live) std::printf("\033[2J");
  while (pause.wait(settings.interval_s)) {
    auto now = sample(admin);
    if (!now) return report(now.error());
    const std::vector<std::string> lines = page(*before, *now);
    if (!live) {
      for (const std::string& line : lines) std::printf("%s\n", line.c_str());
      return 0;
    }
    draw(lines);
    before = std::move(now);
  }
  return 0;
}

}  // namespace realm::cli
