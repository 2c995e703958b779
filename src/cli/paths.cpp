#include "cli/paths.h"

#include <cstdlib>
#include <vector>

namespace realm::cli {
namespace {

constexpr const char* bundled_model = "SmolLM2-135M-Instruct.Q4_1";

bool is_there(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

}  // namespace

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::filesystem::path cache_folder() {
  if (const auto cache = environment("XDG_CACHE_HOME"); !cache.empty()) return std::filesystem::path(cache) / "realm";
  return std::filesystem::path(environment("HOME")) / ".cache" / "realm";
}

std::filesystem::path data_folder() {
  if (const auto data = environment("REALM_DATA"); !data.empty()) return data;
  if (const auto data = environment("XDG_DATA_HOME"); !data.empty()) return std::filesystem::path(data) / "realm";
  return std::filesystem::path(environment("HOME")) / ".local" / "share" / "realm";
}

std::filesystem::path admin_socket(const std::filesystem::path& data) { return data / "realm.sock"; }

Result<std::filesystem::path> find_model(const std::string& choice) {
  const auto models = cache_folder() / "models";
  const auto pulled = data_folder() / "models";
  std::string name = choice.empty() ? environment("REALM_MODEL") : choice;
  if (name.empty()) name = bundled_model;
  if (is_there(name)) return std::filesystem::path(name);
  if (name.find('/') == std::string::npos) {
    for (const auto& file : {pulled / (name + ".gguf"), models / name, models / (name + ".gguf")}) {
      if (is_there(file)) return file;
    }
  }
  std::string message = "model " + name + ": no such file, and not in " + pulled.string() + " or " + models.string() + "; ";
  message += choice.empty() ? "`make run` fetches the bundled one, --model FILE uses your own"
                            : "give the path of a GGUF file with --model, or bring it in with `realm pull`";
  return fail(ErrorCode::not_found, std::move(message));
}

Result<std::filesystem::path> find_program(const std::string& choice) {
  std::string name = choice.empty() ? environment("REALM_PROGRAM") : choice;
  if (!name.empty()) {
    if (is_there(name)) return std::filesystem::path(name);
    return fail(ErrorCode::not_found, "program " + name + ": no such file; give the path of realm.wasm with --program");
  }
  std::error_code error;
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const auto installed = beside.parent_path() / "share" / "realm";
  for (const auto& folder : {beside, installed}) {
    if (is_there(folder / "realm.wasm")) return folder / "realm.wasm";
  }
  return fail(ErrorCode::not_found, "program realm.wasm: neither in " + beside.string() + " nor in " + installed.string() +
                                        "; put it there or give its path with --program");
}

}  // namespace realm::cli
