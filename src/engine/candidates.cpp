#include "engine/candidates.h"

#include <algorithm>
#include <cmath>

namespace realm::engine {
namespace {

using Candidate = SamplerScratch::Candidate;

constexpr float lowest_finite = std::numeric_limits<float>::lowest();
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float window_first = 2;
constexpr float window_last = 40;  // beyond it every token is picked

bool likelier(const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.token < b.token; }

// Of the best candidates, so many that their probabilities reach `mass`: the last one. By halving, so in linear time; `ranking` is
// left in another order. nullptr when all together do not reach it.
template <class Better>
const Candidate* last_within_mass(std::span<Candidate> ranking, double mass, const Better& better) {
  while (ranking.size() > 16) {
    const size_t half = ranking.size() / 2;
    std::ranges::nth_element(ranking, ranking.begin() + static_cast<std::ptrdiff_t>(half), better);
    double mass_of_half = 0;
    for (const Candidate& candidate : ranking.first(half)) mass_of_half += candidate.probability;
    if (mass_of_half >= mass) {
      ranking = ranking.first(half);
    } else {
      mass -= mass_of_half;
      ranking = ranking.subspan(half);
    }
  }
  std::ranges::sort(ranking, better);
  for (const Candidate& candidate : ranking) {
    mass -= candidate.probability;
    if (mass <= 0) return &candidate;
  }
  return nullptr;
}

}  // namespace

Candidates::Candidates(std::span<const float> row, float largest, SamplerScratch& scratch)
    : row_(row), largest_(largest), scratch_(scratch), picked_(scratch.candidates) {
  picked_.clear();
}

void Candidates::pick_between(float low, float high) {
  picked_.clear();
  all_ = false;
  low = std::max(low, lowest_finite);  // a token that cannot be drawn is no candidate
  for (size_t block = 0; block < scratch_.maxima.size(); ++block) {
    if (scratch_.maxima[block] < low) continue;
    const size_t end = std::min(row_.size(), (block + 1) * logit_block);
    for (size_t i = block * logit_block; i < end; ++i) {
      if (row_[i] >= low && row_[i] <= high) picked_.push_back({static_cast<int32_t>(i), row_[i], 0});
    }
  }
}

// Picks a window of logits around `middle` that grows until enough() or until it holds every token, so that what a filter looks for
// is always inside. `above`: 1 to grow to both sides, infinity to take everything above `middle`.
template <class Enough>
void Candidates::pick_around(float middle, float above, const Enough& enough) {
  for (float window = window_first; window <= window_last; window *= 1.5f) {
    pick_between(middle - window, middle + window * above);
    if (enough()) return;
  }
  pick_between(lowest_finite, infinity);
}

// Gives each candidate e^(logit - largest), and returns their sum.
double Candidates::weigh_picked() {
  double mass = 0;
  for (Candidate& candidate : picked_) {
    candidate.probability = std::exp(candidate.logit - largest_);
    mass += candidate.probability;
  }
  return mass;
}

// Keeps the best candidates, as few as have at least `mass`.
template <class Better>
void Candidates::keep_mass(double mass, const Better& better) {
  scratch_.ranking = picked_;
  const Candidate* last = last_within_mass(std::span(scratch_.ranking), mass, better);
  if (last != nullptr) std::erase_if(picked_, [&](const Candidate& candidate) { return better(*last, candidate); });
}

void Candidates::find_largest() {
  largest_ = minus_infinity;
  for (const Candidate& candidate : picked_) largest_ = std::max(largest_, candidate.logit);
}

void Candidates::keep_top_k(int32_t k) {
  const auto wanted = static_cast<size_t>(k);
  if (k <= 0 || wanted >= row_.size()) return;
  if (wanted <= scratch_.maxima.size()) {
    // The k-th largest of the blocks' maxima bounds the k-th largest logit from below.
    scratch_.masses = scratch_.maxima;
    const auto nth = scratch_.masses.begin() + k - 1;
    std::ranges::nth_element(scratch_.masses, nth, std::greater<>());
    pick_between(*nth, infinity);
  } else {
    pick_around(largest_, infinity, [&] { return picked_.size() >= wanted; });
  }
  if (picked_.size() <= wanted) return;
  scratch_.ranking = picked_;
  const auto last = scratch_.ranking.begin() + k - 1;
  std::ranges::nth_element(scratch_.ranking, last, likelier);
  std::erase_if(picked_, [&](const Candidate& candidate) { return likelier(*last, candidate); });
}

void Candidates::keep_typical(float p) {
  if (p >= 1) return;
  RowMass total;
  if (all_) {
    total = block_masses(row_, largest_, 1, scratch_.masses);
    const auto middle = largest_ + static_cast<float>(total.weighted / total.mass);
    pick_around(middle, 1, [&] { return weigh_picked() > p * total.mass; });
  } else {
    total.mass = weigh_picked();
    for (const Candidate& candidate : picked_) total.weighted += (candidate.logit - largest_) * candidate.probability;
  }
  // A token's surprise is log(mass) - x, and the mean, the entropy, log(mass) - weighted / mass: they differ as the logits do.
  const auto mean = largest_ + static_cast<float>(total.weighted / total.mass);
  const double above_p = std::nextafter(p * total.mass, HUGE_VAL);  // typical goes on until the mass exceeds p, top-p until it is p
  keep_mass(above_p, [mean](const Candidate& a, const Candidate& b) {
    const float a_distance = std::abs(a.logit - mean);
    const float b_distance = std::abs(b.logit - mean);
    return a_distance != b_distance ? a_distance < b_distance : likelier(a, b);
  });
  find_largest();
}

void Candidates::keep_top_p(float p) {
  if (p >= 1) return;
  double mass = 0;
  if (all_) {
    mass = block_masses(row_, largest_, 1, scratch_.masses).mass;
    pick_around(largest_, infinity, [&] { return weigh_picked() >= p * mass; });
  } else {
    mass = weigh_picked();
  }
  keep_mass(p * mass, likelier);
}

void Candidates::keep_min_p(float p) {
  if (p <= 0) return;
  const float bound = largest_ + std::log(p);
  if (all_) {
    pick_between(bound, infinity);
  } else {
    std::erase_if(picked_, [bound](const Candidate& candidate) { return candidate.logit < bound; });
  }
}

int32_t Candidates::draw(float temperature, double random) {
  if (all_) {
    const float scale = std::min(1 / temperature, 1e30f);  // finite, so that the largest keeps its 0
    const double mass = block_masses(row_, largest_, scale, scratch_.masses).mass;
    return token_at_mass(row_, largest_, scale, scratch_.masses, random * mass);
  }
  double mass = 0;
  for (Candidate& candidate : picked_) {
    candidate.probability = std::exp((candidate.logit - largest_) / temperature);
    mass += candidate.probability;
  }
  double target = random * mass;
  int32_t token = 0;
  for (const Candidate& candidate : picked_) {
    if (candidate.probability == 0) continue;
    token = candidate.token;
    target -= candidate.probability;
    if (target < 0) break;
  }
  return token;
}

}  // namespace realm::engine
