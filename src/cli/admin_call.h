// A call of the admin API: to the server of the data folder when one runs, else on its database and model folder.
#pragma once

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "base/result.h"
#include "cli/terminal.h"
#include "http/admin_api.h"
#include "models/catalogue.h"
#include "tenants/tenants.h"

namespace realm::cli {

// The JSON of an answer, or its error's message as an error.
Result<boost::json::value> parse_answer(const http::Response& response);

class Admin {
 public:
  Admin(const std::string& data, bool as_json);  // empty: data_folder()

  // The answer's JSON; an error's message as an error.
  Result<boost::json::value> call(const http::AdminCall& call);
  // Only of a running server: unavailable without one.
  Result<boost::json::value> call_server(const http::AdminCall& call) const;
  const std::filesystem::path& folder() const { return folder_; }

  // Prints the JSON, or lets `show` print for a person. The process's exit code.
  template <class Show>
  int finish(const Result<boost::json::value>& answer, Show show) {
    if (!answer) return report(answer.error());
    if (json_) {
      std::printf("%s\n", boost::json::serialize(*answer).c_str());
    } else {
      show(*answer);
    }
    return 0;
  }

 private:
  const std::filesystem::path folder_;
  const bool json_;
  std::unique_ptr<tenants::Tenants> tenants_;
  std::unique_ptr<models::Catalogue> catalogue_;
};

}  // namespace realm::cli
