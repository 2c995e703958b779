#include "cli/table.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <ctime>

#include "cli/terminal.h"

namespace realm::cli {

namespace json = boost::json;

std::string cell(const json::value& value) {
  if (value.is_string()) return printable(value.as_string());
  if (value.is_null()) return "-";
  if (value.is_array()) {
    std::string text;
    for (const json::value& one : value.as_array()) text += (text.empty() ? "" : ",") + cell(one);
    return text.empty() ? "-" : text;
  }
  if (value.is_double()) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", value.as_double());
    return text;
  }
  return json::serialize(value);
}

std::string time_cell(const json::value& value) {
  if (!value.is_number()) return "-";
  const auto time = value.to_number<std::time_t>();
  std::tm local{};
  localtime_r(&time, &local);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &local);
  return text;
}

std::vector<std::string> table_lines(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths(rows.front().size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::vector<std::string> lines;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) line += row[i] + std::string(i + 1 < row.size() ? widths[i] - row[i].size() + 2 : 0, ' ');
    lines.push_back(std::move(line));
  }
  return lines;
}

void print_table(const std::vector<std::vector<std::string>>& rows) {
  for (const std::string& line : table_lines(rows)) std::printf("%s\n", line.c_str());
}

}  // namespace realm::cli
