#include "http/program_manifest.h"

#include <boost/json.hpp>
#include <string>

#include "tenants/tenants.h"

namespace realm::http {
namespace {

namespace json = boost::json;

std::unexpected<Error> bad(std::string message) { return fail(ErrorCode::invalid_argument, "manifest: " + std::move(message)); }

Result<void> read_models(const json::value& value, runtime::Allowance& allowance) {
  if (value.is_string() && value.get_string() == "*") {
    allowance.all_models = true;
    return {};
  }
  if (!value.is_array() || value.get_array().size() > manifest_models_max)
    return bad("models: must be \"*\" or a list of at most " + std::to_string(manifest_models_max) + " names");
  for (const json::value& one : value.get_array()) {
    if (!one.is_string() || !tenants::is_name(one.get_string())) return bad("models: must be names of models");
    allowance.models.emplace_back(one.get_string());
  }
  return {};
}

}  // namespace

Result<runtime::Allowance> parse_manifest(std::string_view text) {
  if (text.size() > manifest_bytes_max) return bad("longer than " + std::to_string(manifest_bytes_max) + " bytes");
  boost::system::error_code error;
  json::parse_options options;
  options.max_depth = 4;
  const json::value parsed = json::parse(json::string_view(text.data(), text.size()), error, {}, options);
  if (error || !parsed.is_object()) return bad("must be a JSON object");
  runtime::Allowance allowance;
  for (const auto& [name, value] : parsed.get_object()) {
    if (name == "models") {
      if (auto models = read_models(value, allowance); !models) return std::unexpected(models.error());
      continue;
    }
    if (name == "tensors") {
      if (!value.is_bool()) return bad("tensors: must be true or false");
      allowance.tensors = value.get_bool();
      continue;
    }
    const auto number = value.to_number<uint64_t>(error);
    const bool fits_32 = !error && number <= UINT32_MAX;
    if (name == "kv_tokens" && fits_32) {
      allowance.kv_tokens_max = number;
    } else if (name == "tokens" && !error) {
      allowance.tokens_max = number;
    } else if (name == "store_bytes" && !error) {
      allowance.store_bytes_max = number;
    } else if (name == "cpu_ms" && fits_32) {
      allowance.cpu_ms_max = static_cast<uint32_t>(number);
    } else if (name == "memory_bytes" && !error) {
      allowance.memory_bytes_max = number;
    } else {
      return bad(std::string(name.substr(0, 64)) + ": not a field of a manifest, or not a whole number in its range");
    }
  }
  if (allowance.cpu_ms_max == 0) return bad("cpu_ms: must be at least 1, since nothing runs without");
  if (allowance.memory_bytes_max == 0) return bad("memory_bytes: must be at least 1, since nothing runs without");
  return allowance;
}

}  // namespace realm::http
