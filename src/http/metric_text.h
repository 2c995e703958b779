// Prometheus' text format, version 0.0.4. (Debian's prometheus-cpp is a shared library with a C++ runtime of its own, which a binary
// that carries its runtime cannot take; the format itself is small.)
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace realm::http {

using MetricLabels = std::vector<std::pair<std::string_view, std::string>>;

// Cumulative counts of observations up to each bound, their number and their sum. Any thread.
class Histogram {
 public:
  static constexpr size_t bounds_max = 20;
  // At most bounds_max rising bounds.
  explicit Histogram(std::initializer_list<double> bounds);
  void observe(double value) noexcept;

 private:
  friend class MetricText;
  std::vector<double> bounds_;
  std::array<std::atomic<uint64_t>, bounds_max + 1> counts_{};  // the last one: above every bound
  std::atomic<double> sum_{0};
};

// Writes families one after the other.
class MetricText {
 public:
  enum class Type { counter, gauge };
  // The samples that follow belong to it.
  void family(std::string_view name, Type type, std::string_view help);
  void sample(double value, const MetricLabels& labels = {});
  void histogram(std::string_view name, std::string_view help, const Histogram& histogram);
  // A family with one sample.
  void single(std::string_view name, Type type, std::string_view help, double value);

  std::string take() { return std::move(text_); }

 private:
  void line(std::string_view suffix, const MetricLabels& labels, double value);
  std::string text_;
  std::string name_;
};

}  // namespace realm::http
