#include "tenants/rate_limiter.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <span>

#include "base/clock.h"

namespace realm::tenants {
namespace {

constexpr double minute_ns = 60e9;
constexpr int64_t day_s = 86'400;

// Holds up to one minute's worth and refills evenly.
struct Bucket {
  double level = 0;
  uint64_t capacity = 0;
  int64_t at_ns = 0;

  void refill(uint64_t per_minute, int64_t now_ns) {
    if (per_minute != capacity) {  // new, or the limit was changed: what was used stays used
      level = capacity == 0 ? static_cast<double>(per_minute) : level + static_cast<double>(per_minute) - static_cast<double>(capacity);
      capacity = per_minute;
    } else {
      level += static_cast<double>(now_ns - at_ns) * static_cast<double>(capacity) / minute_ns;
    }
    level = std::min(level, static_cast<double>(capacity));
    at_ns = now_ns;
  }
  // More than the bucket holds is let in when it is full.
  double lacking(double wanted) const { return std::max(0.0, std::min(wanted, static_cast<double>(capacity)) - level); }
  uint64_t wait_ms(double missing) const {
    return static_cast<uint64_t>(std::ceil(missing * minute_ns / static_cast<double>(capacity) / 1e6));
  }
  uint64_t remaining() const { return static_cast<uint64_t>(std::max(0.0, level)); }
};

// A UTC day or month, as the number of its first and last day.
struct Period {
  int64_t first_day = -1;
  int64_t last_day = -1;
  bool operator==(const Period&) const = default;
};

Period day_of(int64_t unix_s) { return {unix_s / day_s, unix_s / day_s}; }

Period month_of(int64_t unix_s) {
  using namespace std::chrono;
  const year_month_day date{sys_days{days{unix_s / day_s}}};
  const auto first = sys_days{date.year() / date.month() / 1};
  const auto last = sys_days{date.year() / date.month() / std::chrono::last};
  return {first.time_since_epoch().count(), last.time_since_epoch().count()};
}

struct Budget {
  Period period;
  uint64_t used = 0;
};

}  // namespace

struct RateLimiter::State {
  std::mutex mutex;
  Bucket requests;  // guarded, likewise below
  Bucket tokens;
  uint64_t running = 0;
  Budget day;
  Budget month;

  struct DueBudget {
    Budget State::*budget;
    uint64_t limit;
    Period period;
    std::string_view name;
  };
  void turn_budgets(std::unique_lock<std::mutex>& lock, std::span<const DueBudget> due, const std::string& realm_id,
                    const UsedBefore& used_before);

  RateState rate() const {
    const auto full_ms = [](const Bucket& bucket) {
      return bucket.capacity == 0 ? 0 : bucket.wait_ms(static_cast<double>(bucket.capacity) - bucket.level);
    };
    return {.requests_limit = requests.capacity,
            .requests_remaining = requests.remaining(),
            .requests_reset_ms = full_ms(requests),
            .tokens_limit = tokens.capacity,
            .tokens_remaining = tokens.remaining(),
            .tokens_reset_ms = full_ms(tokens)};
  }

  void charge(double of_requests, double of_tokens) {
    if (requests.capacity > 0) requests.level -= of_requests;
    if (tokens.capacity > 0) tokens.level -= of_tokens;
    for (Budget* budget : {&day, &month}) {
      const double used = std::max(0.0, static_cast<double>(budget->used) + of_tokens);
      budget->used = static_cast<uint64_t>(used);
    }
  }
};

Clock Clock::system() {
  return {[] { return realm::monotonic_ns(); }, [] { return static_cast<int64_t>(std::time(nullptr)); }};
}

RateLimiter::Admission::Admission(Admission&& other) noexcept
    : owner_(std::move(other.owner_)), estimate_(other.estimate_), rate_(other.rate_) {}

RateLimiter::Admission& RateLimiter::Admission::operator=(Admission&& other) noexcept {
  std::swap(owner_, other.owner_);
  std::swap(estimate_, other.estimate_);
  std::swap(rate_, other.rate_);
  return *this;
}

RateLimiter::Admission::~Admission() {
  if (!owner_) return;
  std::lock_guard lock(owner_->mutex);
  --owner_->running;
  owner_->charge(-1, -static_cast<double>(estimate_));
}

void RateLimiter::Admission::settle(uint64_t tokens) {
  if (!owner_) return;
  {
    std::lock_guard lock(owner_->mutex);
    --owner_->running;
    owner_->charge(0, static_cast<double>(tokens) - static_cast<double>(estimate_));
  }
  owner_.reset();
}

std::shared_ptr<RateLimiter::State> RateLimiter::state_of(const std::string& realm_id) {
  std::lock_guard lock(mutex_);
  auto& state = states_[realm_id];
  if (!state) state = std::make_shared<State>();
  return state;
}

void RateLimiter::forget(const std::string& realm_id) {
  std::lock_guard lock(mutex_);
  states_.erase(realm_id);
}

// Brings the budgets to the current day and month. Takes the lock away while it asks what was used before.
void RateLimiter::State::turn_budgets(std::unique_lock<std::mutex>& lock, std::span<const DueBudget> due, const std::string& realm_id,
                                      const UsedBefore& used_before) {
  for (const DueBudget& one : due) {
    Budget& budget = this->*one.budget;
    if (budget.period == one.period) continue;
    uint64_t used = 0;
    if (one.limit > 0) {
      lock.unlock();
      used = used_before(realm_id, one.period.first_day, one.period.last_day);
      lock.lock();
    }
    if (budget.period != one.period) budget = {one.limit > 0 ? one.period : Period{}, used};
  }
}

std::expected<RateLimiter::Admission, RateRefusal> RateLimiter::admit(const Realm& realm, uint64_t estimated_tokens,
                                                                      const UsedBefore& used_before) {
  const auto state = state_of(realm.id);
  const Limits& limits = realm.limits;
  const int64_t unix_s = clock_.unix_s();
  const State::DueBudget budgets[] = {{&State::day, limits.tokens_per_day, day_of(unix_s), "tokens_per_day"},
                                      {&State::month, limits.tokens_per_month, month_of(unix_s), "tokens_per_month"}};
  std::unique_lock lock(state->mutex);
  state->turn_budgets(lock, budgets, realm.id, used_before);
  const int64_t now_ns = clock_.monotonic_ns();
  state->requests.refill(limits.requests_per_minute, now_ns);
  state->tokens.refill(limits.tokens_per_minute, now_ns);
  const auto refuse = [&](std::string_view limit, uint64_t retry_after_ms) {
    return std::unexpected(RateRefusal{limit, retry_after_ms, state->rate()});
  };
  if (limits.concurrent_requests_max > 0 && state->running >= limits.concurrent_requests_max) {
    return refuse("concurrent_requests_max", 0);
  }
  if (const double missing = limits.requests_per_minute > 0 ? state->requests.lacking(1) : 0; missing > 0) {
    return refuse("requests_per_minute", state->requests.wait_ms(missing));
  }
  const auto tokens = static_cast<double>(std::max<uint64_t>(estimated_tokens, 1));
  if (const double missing = limits.tokens_per_minute > 0 ? state->tokens.lacking(tokens) : 0; missing > 0) {
    return refuse("tokens_per_minute", state->tokens.wait_ms(missing));
  }
  for (const State::DueBudget& due : budgets) {
    if (due.limit > 0 && ((*state).*due.budget).used >= due.limit) {
      return refuse(due.name, static_cast<uint64_t>((due.period.last_day + 1) * day_s - unix_s) * 1'000);
    }
  }
  ++state->running;
  state->charge(1, static_cast<double>(estimated_tokens));
  Admission admission;
  admission.owner_ = state;
  admission.estimate_ = estimated_tokens;
  admission.rate_ = state->rate();
  return admission;
}

}  // namespace realm::tenants
