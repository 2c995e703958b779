#include "engine/kept_rows.h"

#include <algorithm>
#include <cmath>

#include "engine/logit_row.h"

namespace realm::engine {

std::shared_ptr<const KeptRow> KeptRows::find(uint32_t position) const {
  const auto found = std::ranges::find(rows_, position, &Entry::position);
  return found == rows_.end() ? nullptr : found->row;
}

void KeptRows::keep(uint32_t position, std::shared_ptr<const KeptRow> row) {
  drop_after(position);
  if (!rows_.empty() && rows_.back().position == position) rows_.pop_back();
  if (rows_.size() == kept_rows_max) rows_.erase(rows_.begin());
  rows_.push_back({position, std::move(row)});
}

void KeptRows::drop_before(uint32_t position) {
  std::erase_if(rows_, [position](const Entry& entry) { return entry.position < position; });
}

void KeptRows::drop_after(uint32_t position) {
  std::erase_if(rows_, [position](const Entry& entry) { return entry.position > position; });
}

double log_mass(std::span<const float> logits) {
  thread_local std::vector<float> scratch;
  const float largest = block_maxima(logits, scratch);
  if (!std::isfinite(largest)) return largest;
  return largest + std::log(block_masses(logits, largest, 1, scratch).mass);
}

std::vector<TokenLogprob> likeliest(std::span<const float> logits, uint32_t count) {
  const auto wanted = std::min<size_t>(count, logits.size());
  if (wanted == 0) return {};
  const auto better = [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
  };
  std::vector<float> maxima;
  const float largest = block_maxima(logits, maxima);
  // The count-th largest of the blocks' maxima bounds the count-th largest logit from below.
  float bound = minus_infinity;
  if (wanted <= maxima.size() && largest != minus_infinity) {
    const auto nth = maxima.begin() + static_cast<std::ptrdiff_t>(wanted) - 1;
    std::ranges::nth_element(maxima, nth, std::greater<>());
    bound = *nth;
  }
  std::vector<TokenLogprob> found;
  for (size_t i = 0; i < logits.size(); ++i) {
    const float logit = std::isnan(logits[i]) ? minus_infinity : logits[i];
    if (logit >= bound) found.push_back({static_cast<int32_t>(i), logit});
  }
  std::ranges::partial_sort(found, found.begin() + static_cast<std::ptrdiff_t>(wanted), better);
  found.resize(wanted);
  const double mass = log_mass(logits);
  for (TokenLogprob& each : found) {
    each.logprob = std::isfinite(mass) ? static_cast<float>(each.logprob - mass) : each.logprob == largest ? 0.0f : minus_infinity;
  }
  return found;
}

}  // namespace realm::engine
