// JSON of the admin API as a table for a person.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <vector>

namespace realm::cli {

// A value in a cell: "-" for nothing, lists with commas, no control characters.
std::string cell(const boost::json::value& value);

// Unix seconds as local time; "-" for what is no number.
std::string time_cell(const boost::json::value& value);

// Lines with columns as wide as their widest cell. All rows have as many cells as the first.
std::vector<std::string> table_lines(const std::vector<std::vector<std::string>>& rows);

void print_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace realm::cli
