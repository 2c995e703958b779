// How much a realm may ask for: token buckets on the monotonic clock, concurrent requests, token budgets of a UTC day and month.
//
// Charged before the work with an estimate, settled after it with what was counted. A bucket holds a minute's worth; what a request
// used beyond its estimate is a debt that later ones wait for.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "tenants/types.h"

namespace realm::tenants {

// The state that OpenAI's x-ratelimit-* headers tell; limits of 0 mean that there is none.
struct RateState {
  uint64_t requests_limit = 0;
  uint64_t requests_remaining = 0;
  uint64_t requests_reset_ms = 0;  // until the bucket is full again
  uint64_t tokens_limit = 0;
  uint64_t tokens_remaining = 0;
  uint64_t tokens_reset_ms = 0;
};

struct RateRefusal {
  std::string_view limit;       // the name of the limit: "requests_per_minute"
  uint64_t retry_after_ms = 0;  // 0: no clock tells, as with what runs at once
  RateState state;
};

struct Clock {
  std::function<int64_t()> monotonic_ns;
  std::function<int64_t()> unix_s;
  static Clock system();
};

class RateLimiter {
  struct State;

 public:
  explicit RateLimiter(Clock clock = Clock::system()) : clock_(std::move(clock)) {}

  // A request that was let in. Dropped without settle() it gives everything back. Movable, any thread, may outlive the limiter.
  class Admission {
   public:
    Admission() = default;
    Admission(Admission&& other) noexcept;
    Admission& operator=(Admission&& other) noexcept;
    ~Admission();
    void settle(uint64_t tokens);
    const RateState& state() const { return rate_; }

   private:
    friend class RateLimiter;
    std::shared_ptr<State> owner_;
    uint64_t estimate_ = 0;
    RateState rate_;
  };

  // What a realm has used of its budgets before this process knew of it. Called once for each realm and period, without a lock.
  using UsedBefore = std::function<uint64_t(const std::string& realm_id, int64_t first_day, int64_t last_day)>;

  // `estimated_tokens`: what the request will probably use. Any thread.
  std::expected<Admission, RateRefusal> admit(const Realm& realm, uint64_t estimated_tokens, const UsedBefore& used_before);
  void forget(const std::string& realm_id);

 private:
  std::shared_ptr<State> state_of(const std::string& realm_id);

  const Clock clock_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<State>, std::less<>> states_;  // guarded
};

}  // namespace realm::tenants
