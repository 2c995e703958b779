#include "cli/load_report.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <map>
#include <numeric>

#include "cli/table.h"

namespace realm::cli {
namespace {

namespace json = boost::json;
using http::LoadRecord;

constexpr double ns_per_ms = 1e6;
constexpr double ns_per_s = 1e9;
constexpr size_t kinds_of_failure_max = 5;  // shown

double ms(int64_t from_ns, int64_t to_ns) { return static_cast<double>(to_ns - from_ns) / ns_per_ms; }

// The smallest value that at least this share of them do not exceed.
double percentile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<size_t>(share * static_cast<double>(sorted.size()));
  return sorted[std::min(sorted.size() - 1, rank)];
}

json::value distribution(std::vector<double> values) {
  if (values.empty()) return nullptr;
  std::ranges::sort(values);
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return json::object{{"mean", sum / static_cast<double>(values.size())},
                      {"p50", percentile(values, 0.50)},
                      {"p95", percentile(values, 0.95)},
                      {"p99", percentile(values, 0.99)},
                      {"max", values.back()}};
}

// The server's count, where it gives one: a token can come in two pieces (the rest of an unfinished character) and two tokens in one.
uint64_t tokens_of(const LoadRecord& record) { return record.completion_tokens != 0 ? record.completion_tokens : record.pieces_ns.size(); }

bool is_good(const LoadRecord& record, const ServiceObjective& objective) {
  if (!record.failure.empty() || record.pieces_ns.empty()) return false;
  if (ms(record.due_ns, record.pieces_ns.front()) > objective.first_token_ms) return false;
  const auto others = static_cast<double>(std::max<uint64_t>(tokens_of(record), 2) - 1);
  return ms(record.pieces_ns.front(), record.pieces_ns.back()) / others <= objective.token_ms;
}

// R. Jain, D. Chiu, W. Hawe: A Quantitative Measure of Fairness (1984). 1: all have as much; 1/n: one has it all.
double jain(const std::vector<double>& shares) {
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  const double squares = std::inner_product(shares.begin(), shares.end(), shares.begin(), 0.0);
  return squares > 0 ? sum * sum / (static_cast<double>(shares.size()) * squares) : 1;
}

json::array failures(const std::vector<LoadRecord>& records) {
  std::map<std::string, uint64_t> counts;
  for (const LoadRecord& record : records) {
    if (!record.failure.empty()) ++counts[record.failure];
  }
  json::array rows;
  for (const auto& [text, count] : counts) {
    if (rows.size() == kinds_of_failure_max) break;
    rows.push_back(json::object{{"what", text}, {"requests", count}});
  }
  return rows;
}

}  // namespace

json::object load_report(const std::vector<LoadRecord>& records, const ServiceObjective& objective, uint32_t customers) {
  std::vector<double> first, between, whole, tokens(std::max(customers, 1u)), waited_s(tokens.size());
  uint64_t prompt_tokens = 0, output_tokens = 0, good = 0, failed = 0;
  int64_t began_ns = INT64_MAX, ended_ns = INT64_MIN;
  for (const LoadRecord& record : records) {
    began_ns = std::min(began_ns, record.due_ns);
    ended_ns = std::max(ended_ns, record.ended_ns);
    prompt_tokens += record.prompt_tokens;
    output_tokens += tokens_of(record);
    good += is_good(record, objective);
    failed += !record.failure.empty();
    tokens[record.customer] += static_cast<double>(tokens_of(record));
    waited_s[record.customer] += static_cast<double>(record.ended_ns - record.due_ns) / ns_per_s;
    const auto& pieces = record.pieces_ns;
    if (!pieces.empty()) first.push_back(ms(record.due_ns, pieces.front()));
    for (size_t i = 1; i < pieces.size(); ++i) between.push_back(ms(pieces[i - 1], pieces[i]));
    if (record.failure.empty()) whole.push_back(ms(record.due_ns, record.ended_ns));
  }
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = waited_s[i] > 0 ? tokens[i] / waited_s[i] : 0;
  const double seconds = records.empty() ? 0 : static_cast<double>(ended_ns - began_ns) / ns_per_s;
  const auto rate = [seconds](uint64_t count) { return seconds > 0 ? static_cast<double>(count) / seconds : 0; };
  return {{"requests", records.size()},
          {"requests_failed", failed},
          {"seconds", seconds},
          {"prompt_tokens", prompt_tokens},
          {"output_tokens", output_tokens},
          {"output_tokens_per_second", rate(output_tokens)},
          {"tokens_per_second", rate(prompt_tokens + output_tokens)},
          {"first_token_ms", distribution(std::move(first))},
          {"between_tokens_ms", distribution(std::move(between))},
          {"request_ms", distribution(std::move(whole))},
          {"good_requests_per_second", rate(good)},
          {"good_first_token_ms_max", objective.first_token_ms},
          {"good_token_ms_max", objective.token_ms},
          {"customers", customers},
          {"jain", jain(tokens)},
          {"failures", failures(records)}};
}

std::vector<std::string> load_report_lines(const json::object& report) {
  const auto number = [&report](const char* name) { return report.at(name).to_number<double>(); };
  char text[300];
  std::vector<std::string> lines;
  const auto line = [&](const char* format, auto... values) {
    std::snprintf(text, sizeof text, format, values...);
    lines.emplace_back(text);
  };
  line("%.0f requests in %.1f s, %.0f of them failed", number("requests"), number("seconds"), number("requests_failed"));
  line("%.0f output tokens, %.1f a second; with those of prompts %.1f", number("output_tokens"), number("output_tokens_per_second"),
       number("tokens_per_second"));
  line("%.2f good requests a second: first token within %g ms, each other within %g ms on average", number("good_requests_per_second"),
       number("good_first_token_ms_max"), number("good_token_ms_max"));
  line("%.3f Jain's index of the tokens a second of %.0f customers", number("jain"), number("customers"));
  std::vector<std::vector<std::string>> rows = {{"ms", "mean", "p50", "p95", "p99", "max"}};
  for (const auto& [title, name] :
       {std::pair{"to the first token", "first_token_ms"}, {"between tokens", "between_tokens_ms"}, {"whole request", "request_ms"}}) {
    if (!report.at(name).is_object()) continue;
    rows.push_back({title});
    for (const auto& [key, value] : report.at(name).as_object()) {
      std::snprintf(text, sizeof text, "%.1f", value.to_number<double>());
      rows.back().emplace_back(text);
    }
  }
  lines.emplace_back();
  for (std::string& row : table_lines(rows)) lines.push_back(std::move(row));
  for (const json::value& failure : report.at("failures").as_array()) {
    lines.push_back(cell(failure.at("requests")) + " failed: " + cell(failure.at("what")));
  }
  return lines;
}

}  // namespace realm::cli
