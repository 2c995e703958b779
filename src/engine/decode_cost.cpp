#include "engine/decode_cost.h"

#include <algorithm>
#include <cmath>

namespace realm::engine {
namespace {

constexpr double kept = 0.95;             // of what was seen, with each new observation
constexpr double outlier = 2;             // times what was expected; the machine did something else
constexpr double spread_min = 0.1;        // standard deviation, of the mean number of sequences
constexpr uint32_t spread_steps_min = 8;  // observations with such a spread before it says anything: the first steps are slow
constexpr uint32_t slope_age_max = 128;   // observations without: contexts grow, and what a sequence costs with them
constexpr double slope_unknown = 0.6;     // of the mean cost of a sequence: enough for somebody who would suffer to look

}  // namespace

void DecodeCost::observe(uint32_t sequences, int64_t ns) noexcept {
  const double n = sequences;
  auto cost = static_cast<double>(ns);
  if (slope_is_known()) cost = std::min(cost, outlier * step_ns(sequences));
  for (double* sum : {&count_, &sequences_, &sequences_squared_, &ns_, &sequences_ns_}) *sum *= kept;
  count_ += 1;
  sequences_ += n;
  sequences_squared_ += n * n;
  ns_ += cost;
  sequences_ns_ += n * cost;
  const double mean = sequences_ / count_;
  const double variance = sequences_squared_ / count_ - mean * mean;
  if (variance < spread_min * mean * spread_min * mean) {
    if (++since_spread_ > slope_age_max) spread_steps_ = 0;
    return;
  }
  since_spread_ = 0;
  spread_steps_ = std::min(spread_steps_ + 1, spread_steps_min);
  // Twice as many never take more than twice as long, whatever noise says.
  slope_ns_ = std::clamp((sequences_ns_ / count_ - mean * ns_ / count_) / variance, 0.0, ns_ / sequences_);
}

bool DecodeCost::slope_is_known() const noexcept { return spread_steps_ == spread_steps_min; }

double DecodeCost::sequence_ns() const noexcept { return slope_is_known() ? slope_ns_ : slope_unknown * ns_ / sequences_; }

double DecodeCost::step_ns(uint32_t sequences) const noexcept {
  if (count_ == 0) return 0;
  const double mean_ns = ns_ / count_;
  return mean_ns + sequence_ns() * (sequences - sequences_ / count_);
}

uint32_t DecodeCost::sequences_within(double ns) const noexcept {
  if (count_ == 0) return 1;
  const double slope = sequence_ns();
  const double room = ns - step_ns(0);
  if (slope <= 0) return room > 0 ? UINT32_MAX : 1;
  return static_cast<uint32_t>(std::clamp(std::floor(room / slope), 1.0, 1e9));
}

}  // namespace realm::engine
