// `realm pull`: a model into the store's own folder.
#include "models/pull.h"

#include <atomic>
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>

#include "cli/admin_call.h"
#include "cli/commands.h"
#include "cli/paths.h"

namespace realm::cli {
namespace {

using Clock = std::chrono::steady_clock;
using boost::beast::http::verb;

constexpr int bar_width = 30;
constexpr double mib = 1 << 20;
constexpr std::chrono::milliseconds redraw{100};

// One line on a terminal that is drawn over and over; nothing elsewhere.
class Bar {
 public:
  ~Bar() {
    if (drawn_) std::fprintf(stderr, "\r\033[K");
  }
  void show(uint64_t done, uint64_t total) {
    const auto now = Clock::now();
    if (!stderr_is_terminal() || now - last_ < redraw) return;
    last_ = now;
    if (!drawn_ || done < begin_) {
      begin_ = done;
      began_ = now;
    }
    drawn_ = true;
    const double seconds = std::chrono::duration<double>(now - began_).count();
    const double rate = seconds > 0 ? static_cast<double>(done - begin_) / seconds : 0;
    if (total == 0) {
      std::fprintf(stderr, "\r\033[K%.1f MiB  %.1f MiB/s", static_cast<double>(done) / mib, rate / mib);
    } else {
      const double part = static_cast<double>(done) / static_cast<double>(total);
      const int filled = static_cast<int>(part * bar_width);
      const double left_s = rate > 0 ? static_cast<double>(total - done) / rate : 0;
      std::fprintf(stderr, "\r\033[K[%.*s%*s] %3.0f %%  %.1f of %.1f MiB  %.1f MiB/s  %.0f s left", filled,
                   "##############################", bar_width - filled, "", 100 * part, static_cast<double>(done) / mib,
                   static_cast<double>(total) / mib, rate / mib, left_s);
    }
    std::fflush(stderr);
  }

 private:
  bool drawn_ = false;
  uint64_t begin_ = 0;
  Clock::time_point began_;
  Clock::time_point last_;
};

Result<models::PulledModel> pull_with_bar(const PullSettings& settings, const std::filesystem::path& data, Interrupts& interrupts) {
  std::atomic<bool> stop = false;
  interrupts.on_interrupt([&stop] { stop = true; });
  Bar bar;
  auto pulled = models::pull(settings.source, {.folder = data / "models",
                                               .checker = "/proc/self/exe",
                                               .name = settings.name,
                                               .sha256 = settings.sha256,
                                               .allow_private = settings.allow_private,
                                               .hub = environment("HF_ENDPOINT"),
                                               .token = environment("HF_TOKEN"),
                                               .progress = [&](uint64_t done, uint64_t total) {
                                                 bar.show(done, total);
                                                 return !stop.load();
                                               }});
  interrupts.on_interrupt(nullptr);
  return pulled;
}

}  // namespace

int run_pull(const PullSettings& settings, Interrupts& interrupts) {
  Admin admin(settings.data, settings.json);
  auto pulled = pull_with_bar(settings, admin.folder(), interrupts);
  if (!pulled) {
    const int code = report(pulled.error());
    return pulled.error().code == ErrorCode::cancelled ? exit_interrupted : code;
  }
  // A running server looks for new files when it is told to; without one, the next start does.
  if (auto seen = admin.call_server({.method = verb::post, .path = "models"}); !seen && seen.error().code != ErrorCode::unavailable) {
    return report(seen.error());
  }
  const boost::json::value answer = {
      {"name", pulled->name}, {"file", pulled->file.string()}, {"bytes", pulled->bytes}, {"sha256", pulled->sha256}};
  return admin.finish(answer, [&](const boost::json::value&) {
    std::printf("model %s is there: %.1f MiB, SHA-256 %s\n", pulled->name.c_str(), static_cast<double>(pulled->bytes) / mib,
                pulled->sha256.c_str());
  });
}

}  // namespace realm::cli
