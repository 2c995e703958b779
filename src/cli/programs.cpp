// `realm programs`: what realms run in place of realm.wasm, or beside it.
#include <boost/json.hpp>
#include <cstdio>
#include <fstream>

#include "cli/admin.h"
#include "cli/admin_call.h"
#include "cli/paths.h"
#include "cli/table.h"
#include "http/api_client.h"
#include "runtime/program_check.h"

namespace realm::cli {
namespace {

namespace json = boost::json;
using boost::beast::http::verb;

constexpr size_t file_bytes_max = 64u << 20;
constexpr long push_timeout_s = 120;    // compiling has its own limits
constexpr long run_timeout_s = 86'400;  // likewise

Result<std::string> read_file(const std::string& name) {
  std::ifstream file(name, std::ios::binary);
  if (!file) return fail(ErrorCode::not_found, "file " + name + ": cannot be opened");
  std::string bytes(std::istreambuf_iterator<char>(file), {});
  if (file.bad()) return fail(ErrorCode::io, "file " + name + ": cannot be read");
  if (bytes.size() > file_bytes_max) return fail(ErrorCode::invalid_argument, "file " + name + ": more than 64 MiB");
  return bytes;
}

// The program's input: the option, else what is piped in.
Result<std::string> read_input(const std::string& name) {
  if (!name.empty()) return read_file(name);
  std::string bytes;
  if (stdin_is_terminal()) return bytes;
  char buffer[65'536];
  size_t count = 0;
  while ((count = std::fread(buffer, 1, sizeof buffer, stdin)) > 0 && bytes.size() <= file_bytes_max) bytes.append(buffer, count);
  return bytes;
}

// One line of JSON, as a header takes it.
Result<std::string> one_line(const std::string& text) {
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  if (error) return fail(ErrorCode::invalid_argument, "manifest: is not valid JSON");
  return json::serialize(value);
}

class Caller {
 public:
  explicit Caller(const ProgramSettings& settings, const std::filesystem::path& folder) {
    endpoint_.url = settings.endpoint.empty() ? environment("REALM_ENDPOINT") : settings.endpoint;
    endpoint_.key = settings.api_key.empty() ? environment("REALM_API_KEY") : settings.api_key;
    while (endpoint_.url.ends_with('/')) endpoint_.url.pop_back();
    if (!endpoint_.url.empty()) return;
    endpoint_.socket = admin_socket(folder);
    endpoint_.key.clear();
    if (!settings.realm.empty()) headers_.emplace_back("realm-name", settings.realm);
  }

  Result<http::Response> call(http::ApiCall call) const {
    call.headers.insert(call.headers.end(), headers_.begin(), headers_.end());
    return http::call_api(endpoint_, call);
  }

 private:
  http::Endpoint endpoint_;
  http::HeaderList headers_;
};

Result<json::value> answered(Result<http::Response> response) {
  if (!response) return fail(std::move(response));
  return parse_answer(*response);
}

void print_program(const json::value& program) {
  std::printf("program %s is live: version %s, %s bytes\n", cell(program.at("name")).c_str(), cell(program.at("version")).c_str(),
              cell(program.at("bytes")).c_str());
}

void print_programs(const json::value& answer) {
  std::vector<std::vector<std::string>> rows = {{"NAME", "VERSION", "BYTES", "CREATED", "MANIFEST"}};
  for (const json::value& program : answer.at("data").as_array()) {
    for (const json::value& version : program.at("versions").as_array()) {
      rows.push_back({cell(program.at("name")), cell(version.at("version")), cell(version.at("bytes")), time_cell(version.at("created")),
                      cell(version.at("manifest"))});
    }
  }
  print_table(rows);
}

int check(const ProgramSettings& settings, bool as_json) {
  const auto wasm = read_file(settings.file);
  if (!wasm) return report(wasm.error());
  const auto found = runtime::inspect_program(*wasm, cache_folder() / "code");
  if (!found) return report(found.error());
  if (as_json) {
    const json::object answer{{"bytes", wasm->size()},
                              {"imports", json::value_from(found->shape.imports)},
                              {"exports", json::value_from(found->shape.exported_functions)},
                              {"memory64", found->shape.is_memory64},
                              {"memory_bytes_min", found->shape.memory_bytes_min},
                              {"code_bytes", found->shape.code_bytes},
                              {"problems", json::value_from(found->problems)}};
    std::printf("%s\n", json::serialize(answer).c_str());
    return found->problems.empty() ? 0 : exit_failure;
  }
  for (const std::string& name : found->shape.imports) std::printf("import   %s\n", printable(name).c_str());
  for (const std::string& name : found->shape.exported_functions) std::printf("export   %s\n", printable(name).c_str());
  for (const std::string& problem : found->problems) std::printf("problem  %s\n", printable(problem).c_str());
  if (found->problems.empty()) {
    std::printf("ok       %zu bytes, %llu bytes of native code, memory from %llu bytes\n", wasm->size(),
                static_cast<unsigned long long>(found->shape.code_bytes), static_cast<unsigned long long>(found->shape.memory_bytes_min));
  }
  return found->problems.empty() ? 0 : exit_failure;
}

int push(const ProgramSettings& settings, Admin& admin, const Caller& caller) {
  auto wasm = read_file(settings.file);
  if (!wasm) return report(wasm.error());
  const std::string name = settings.name.empty() ? std::filesystem::path(settings.file).stem().string() : settings.name;
  http::ApiCall call{.method = verb::put, .target = "/v1/programs/" + name, .body = std::move(*wasm), .timeout_s = push_timeout_s};
  call.headers.emplace_back("Content-Type", "application/octet-stream");
  if (!settings.manifest.empty()) {
    const auto text = read_file(settings.manifest);
    if (!text) return report(text.error());
    auto line = one_line(*text);
    if (!line) return report(line.error());
    call.headers.emplace_back("Realm-Manifest", std::move(*line));
  }
  return admin.finish(answered(caller.call(std::move(call))), print_program);
}

int run_one(const ProgramSettings& settings, bool as_json, const Caller& caller) {
  auto input = read_input(settings.input);
  if (!input) return report(input.error());
  std::string body;
  http::ApiCall call{.method = verb::post,
                     .target = "/v1/programs/" + settings.name + "/run" + (settings.version.empty() ? "" : "?version=" + settings.version),
                     .body = std::move(*input),
                     .timeout_s = run_timeout_s};
  call.on_body = [&body, as_json](std::string_view piece) {
    if (as_json) {
      body += piece;
      return body.size() <= file_bytes_max;
    }
    const std::string shown = stdout_is_terminal() ? printable(piece) : std::string(piece);
    return std::fwrite(shown.data(), 1, shown.size(), stdout) == shown.size() && std::fflush(stdout) == 0;
  };
  const auto response = caller.call(std::move(call));
  if (!response) return report(response.error());
  if (response->status >= 300) {
    const auto refused = parse_answer(*response);
    return report(refused ? Error{ErrorCode::io, "the server refused"} : refused.error());
  }
  if (as_json) {
    const json::object answer{{"status", response->status}, {"content_type", response->content_type}, {"body", body}};
    std::printf("%s\n", json::serialize(answer).c_str());
  }
  return 0;
}

}  // namespace

int run_programs_command(const AdminSettings& settings) {
  const ProgramSettings& program = settings.program;
  if (settings.action == "check") return check(program, settings.json);
  Admin admin(settings.data, settings.json);
  const Caller caller(program, admin.folder());
  if (settings.action == "push") return push(program, admin, caller);
  if (settings.action == "run") return run_one(program, settings.json, caller);
  if (settings.action == "list") return admin.finish(answered(caller.call({.target = "/v1/programs"})), print_programs);
  const std::string target = "/v1/programs/" + program.name + (program.version.empty() ? "" : "?version=" + program.version);
  return admin.finish(answered(caller.call({.method = verb::delete_, .target = target})), [&](const json::value&) {
    std::printf("%s is deleted\n", program.version.empty() ? ("program " + program.name).c_str() : "the version");
  });
}

}  // namespace realm::cli
