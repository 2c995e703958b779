// The tools that an answer may call, and what their schemas say about arguments that a model writes as bare text.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "json.h"

namespace realm {

class CallableTools {
 public:
  // Without a schema whatever is JSON is taken as such.
  void add(const std::string& name, const common_json& parameters = nullptr) { parameters_[name] = parameters; }

  bool contains(const std::string& name) const { return parameters_.contains(name); }

  // An argument between tags as a JSON value: a string where the schema wants one, otherwise what it says as JSON, or itself.
  common_json argument(const std::string& tool, const std::string& name, std::string_view written) const;

 private:
  std::map<std::string, common_json> parameters_;
};

// One line feed at either end of an argument between tags belongs to the tags.
std::string_view without_outer_lines(std::string_view text);

}  // namespace realm
