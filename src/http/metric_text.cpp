#include "http/metric_text.h"

#include <charconv>
#include <cmath>

namespace realm::http {
namespace {

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

std::string escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    c == '\n' ? out += "\\n" : out += c;
  }
  return out;
}

}  // namespace

Histogram::Histogram(std::initializer_list<double> bounds) : bounds_(bounds) { bounds_.resize(std::min(bounds_.size(), bounds_max)); }

void Histogram::observe(double value) noexcept {
  size_t at = 0;
  while (at < bounds_.size() && value > bounds_[at]) ++at;
  counts_[at].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

void MetricText::family(std::string_view name, Type type, std::string_view help) {
  name_ = name;
  text_ += "# HELP " + name_ + " " + std::string(help) + "\n# TYPE " + name_ + (type == Type::counter ? " counter\n" : " gauge\n");
}

void MetricText::sample(double value, const MetricLabels& labels) { line("", labels, value); }

void MetricText::single(std::string_view name, Type type, std::string_view help, double value) {
  family(name, type, help);
  sample(value);
}

void MetricText::histogram(std::string_view name, std::string_view help, const Histogram& histogram) {
  name_ = name;
  text_ += "# HELP " + name_ + " " + std::string(help) + "\n# TYPE " + name_ + " histogram\n";
  uint64_t total = 0;
  for (size_t i = 0; i <= histogram.bounds_.size(); ++i) {
    total += histogram.counts_[i].load(std::memory_order_relaxed);
    line("_bucket", {{"le", i < histogram.bounds_.size() ? number(histogram.bounds_[i]) : "+Inf"}}, static_cast<double>(total));
  }
  line("_sum", {}, histogram.sum_.load(std::memory_order_relaxed));
  line("_count", {}, static_cast<double>(total));
}

void MetricText::line(std::string_view suffix, const MetricLabels& labels, double value) {
  text_ += name_;
  text_ += suffix;
  char separator = '{';
  for (const auto& [label, text] : labels) {
    text_ += separator;
    text_ += label;
    text_ += "=\"" + escaped(text) + '"';
    separator = ',';
  }
  if (!labels.empty()) text_ += '}';
  text_ += ' ' + number(value) + '\n';
}

}  // namespace realm::http
