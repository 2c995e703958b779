#include "cli/admin_call.h"

#include <boost/json.hpp>

#include "cli/paths.h"
#include "http/api_client.h"

namespace realm::cli {
namespace {

namespace json = boost::json;

}  // namespace

Result<json::value> parse_answer(const http::Response& response) {
  boost::system::error_code error;
  json::value value = json::parse(response.body, error);
  if (error) return fail(ErrorCode::io, "the server's answer is not JSON");
  if (response.status < 300) return value;
  const json::value* message = value.find_pointer("/error/message", error);
  return fail(ErrorCode::invalid_argument,
              message != nullptr && message->is_string() ? std::string(message->as_string()) : "the server refused");
}

Admin::Admin(const std::string& data, bool as_json) : folder_(data.empty() ? data_folder() : std::filesystem::path(data)), json_(as_json) {}

Result<json::value> Admin::call_server(const http::AdminCall& call) const {
  http::ApiCall request{
      .method = call.method, .target = "/admin/v1/" + call.path + (call.query.empty() ? "" : "?" + call.query), .body = call.body};
  if (!call.body.empty()) request.headers.emplace_back("Content-Type", "application/json");
  auto response = http::call_api({.socket = admin_socket(folder_)}, request);
  if (!response) return fail(std::move(response));
  return parse_answer(*response);
}

Result<json::value> Admin::call(const http::AdminCall& call) {
  auto answer = call_server(call);
  if (answer || answer.error().code != ErrorCode::unavailable) return answer;
  if (!tenants_) {
    auto opened = tenants::Tenants::open({.folder = folder_});
    if (!opened) return fail(std::move(opened));
    tenants_ = std::move(*opened);
  }
  if (!catalogue_ && call.path.starts_with("models")) {
    auto opened = models::Catalogue::open({.folder = folder_ / "models", .folders = {}, .files = {}, .checker = "/proc/self/exe"});
    if (!opened) return fail(std::move(opened));
    catalogue_ = std::move(*opened);
  }
  models::PublishedPrefixes prefixes(folder_ / "prefixes");
  return parse_answer(http::AdminApi(*tenants_, catalogue_.get(), nullptr, prefixes, {}, {}).answer(call, ""));
}

}  // namespace realm::cli
