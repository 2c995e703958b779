// What a step costs by how many sequences generate in it: a straight line through what was seen lately. Scheduler thread only.
#pragma once

#include <cstdint>

namespace realm::engine {

class DecodeCost {
 public:
  // A step of nothing but one token of each of `sequences` took `ns`.
  void observe(uint32_t sequences, int64_t ns) noexcept;

  // What such a step takes; 0 before anything is known.
  double step_ns(uint32_t sequences) const noexcept;
  // How many sequences such a step may have to take `ns`; at least 1.
  uint32_t sequences_within(double ns) const noexcept;

 private:
  bool slope_is_known() const noexcept;
  double sequence_ns() const noexcept;

  // Sums over what was seen, each observation less than the next.
  double count_ = 0;
  double sequences_ = 0;
  double sequences_squared_ = 0;
  double ns_ = 0;
  double sequences_ns_ = 0;
  double slope_ns_ = 0;        // of the line, when it is known
  uint32_t spread_steps_ = 0;  // observations of which the sums were of different enough steps to tell the slope, up to enough
  uint32_t since_spread_ = 0;  // observations since the last such one
};

}  // namespace realm::engine
