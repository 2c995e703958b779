#include "models/prefixes.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "models/file_name.h"

namespace realm::models {
namespace {

namespace fs = std::filesystem;

constexpr const char* extension = ".txt";

// Names of models and of prefixes are names of files here.
bool is_name(std::string_view text) { return is_model_name(text) && !text.starts_with('.'); }

Result<void> check_names(std::string_view model, std::string_view name) {
  if (!is_name(model)) return fail(ErrorCode::invalid_argument, "a model's name has 1 to 128 letters, digits, '.', '_' or '-'");
  if (!is_name(name)) return fail(ErrorCode::invalid_argument, "a prefix's name has 1 to 128 letters, digits, '.', '_' or '-'");
  return {};
}

Result<void> write_whole(const fs::path& file, std::string_view text) {
  const fs::path next = file.string() + ".next";
  const int descriptor = ::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool ok = descriptor >= 0;
  while (ok && !text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    ok = written > 0;
    if (ok) text.remove_prefix(static_cast<size_t>(written));
  }
  ok = ok && fsync(descriptor) == 0;
  if (descriptor >= 0) ::close(descriptor);
  ok = ok && ::rename(next.c_str(), file.c_str()) == 0;
  return ok ? Result<void>{} : fail(ErrorCode::io, file.string() + ": cannot be written: " + std::strerror(errno));
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == extension && entry.is_regular_file(error)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::vector<PublishedPrefix> PublishedPrefixes::list(std::string_view model) const {
  std::vector<PublishedPrefix> prefixes;
  if (!is_name(model)) return prefixes;
  std::lock_guard lock(mutex_);
  for (const fs::path& file : files_of(folder_ / model)) {
    std::error_code error;
    if (prefixes.size() == published_prefixes_max || fs::file_size(file, error) > published_text_bytes_max || error) continue;
    std::ifstream in(file, std::ios::binary);
    prefixes.push_back({file.stem().string(), std::string((std::istreambuf_iterator<char>(in)), {})});
  }
  return prefixes;
}

Result<void> PublishedPrefixes::put(std::string_view model, const PublishedPrefix& prefix) {
  if (auto valid = check_names(model, prefix.name); !valid) return valid;
  if (prefix.text.empty() || prefix.text.size() > published_text_bytes_max) {
    return fail(ErrorCode::invalid_argument, "text: 1 to " + std::to_string(published_text_bytes_max) + " bytes");
  }
  std::lock_guard lock(mutex_);
  const fs::path file = folder_ / model / (prefix.name + extension);
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  if (error) return fail(ErrorCode::io, file.parent_path().string() + ": " + error.message());
  if (!fs::exists(file, error) && files_of(file.parent_path()).size() >= published_prefixes_max) {
    return fail(ErrorCode::invalid_argument, "a model has at most " + std::to_string(published_prefixes_max) + " published prefixes");
  }
  return write_whole(file, prefix.text);
}

Result<void> PublishedPrefixes::remove(std::string_view model, std::string_view name) {
  if (auto valid = check_names(model, name); !valid) return valid;
  std::lock_guard lock(mutex_);
  std::error_code error;
  if (!fs::remove(folder_ / model / (std::string(name) + extension), error)) {
    return error ? fail(ErrorCode::io, std::string(name) + ": " + error.message())
                 : fail(ErrorCode::not_found, "there is no published prefix of this name");
  }
  return {};
}

}  // namespace realm::models
