// What the server counts, for /metrics: the names and shapes that Prometheus users know from vLLM, as realm_*.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "http/metric_text.h"
#include "runtime/runtime.h"

namespace realm::http {

constexpr size_t realm_labels_max = 200;  // later ones are counted under `other`
constexpr uint32_t retry_after_s_max = 60;

class ServerMetrics {
 public:
  // All of these: any thread.
  void request_began(std::string_view realm);
  // `outcome`: "ok", or the code of the problem that ended it.
  void request_ended(std::string_view realm, std::string_view outcome, const runtime::GenerationStats& stats);
  void http_answered(uint16_t status);
  void connection(bool opened);
  // A limit of HttpLimits or of a realm turned somebody away: "headers_too_large", "rate_limit_exceeded".
  void refused(std::string_view code);
  void client_gone();

  uint32_t requests_running() const noexcept { return running_.load(std::memory_order_relaxed); }
  // When somebody whom a full queue of the realm turned away may come again: how long what runs and waits takes at the rate at which
  // the realm's requests have been ending of late; 1 to retry_after_s_max.
  uint32_t retry_after_s(std::string_view realm) const;

  void write(MetricText& text) const;

 private:
  struct OfRealm {
    uint64_t requests = 0;
    uint64_t prompt_tokens = 0;
    uint64_t cached_tokens = 0;
    uint64_t generation_tokens = 0;
    uint64_t guest_cpu_ns = 0;
    uint32_t running = 0;
    double ends_per_second = 0;  // of late, as of last_end_ns
    int64_t last_end_ns = 0;
    std::map<std::string, uint64_t, std::less<>> outcomes;
  };
  OfRealm& of_realm(std::string_view realm);  // with mutex_ held
  void write_realms(MetricText& text) const;

  std::atomic<uint32_t> running_{0};
  std::atomic<uint32_t> connections_{0};
  std::atomic<uint64_t> connections_total_{0};
  std::atomic<uint64_t> clients_gone_{0};
  std::array<std::atomic<uint64_t>, 600> statuses_{};

  mutable std::mutex mutex_;
  std::map<std::string, OfRealm, std::less<>> realms_;  // guarded, likewise below
  std::map<std::string, uint64_t, std::less<>> refusals_;

  Histogram time_to_first_token_{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160};
  Histogram time_per_output_token_{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5};
  Histogram request_seconds_{0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240};
  Histogram queue_seconds_{0.0001, 0.001, 0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60};
  Histogram guest_cpu_seconds_{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5};
};

// Of the runtime: schedulers, batches, KV, instances and their outcomes.
void write_runtime_metrics(MetricText& text, const runtime::Runtime& runtime);

}  // namespace realm::http
