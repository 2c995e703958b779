// The filters of sampling. Each leaves the candidates that llama.cpp's filter of the same name leaves, without sorting anything:
// the first filter picks its candidates out of the row, the others remove some of those.
#pragma once

#include <span>

#include "engine/logit_row.h"
#include "engine/sampler.h"

namespace realm::engine {

class Candidates {
 public:
  // Every token of a row whose largest logit, `largest`, is finite. scratch.maxima as block_maxima left it. Both outlive this.
  Candidates(std::span<const float> row, float largest, SamplerScratch& scratch);

  // Parameters as in SamplerParams; a value that switches a filter off leaves everything.
  void keep_top_k(int32_t k);
  void keep_typical(float p);
  void keep_top_p(float p);
  void keep_min_p(float p);

  // `random`: from 0 to below 1.
  int32_t draw(float temperature, double random);

  // What the filters have left, by rising id; nothing while no filter was on and every token is a candidate.
  std::span<const SamplerScratch::Candidate> picked() const { return picked_; }

 private:
  void pick_between(float low, float high);
  template <class Enough>
  void pick_around(float middle, float above, const Enough& enough);
  double weigh_picked();
  template <class Better>
  void keep_mass(double mass, const Better& better);
  void find_largest();

  std::span<const float> row_;
  float largest_;  // logit among the candidates
  SamplerScratch& scratch_;
  std::vector<SamplerScratch::Candidate>& picked_;
  bool all_ = true;  // nothing picked yet
};

}  // namespace realm::engine
