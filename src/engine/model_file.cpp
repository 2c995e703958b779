#include "engine/model_file.h"

#include <fcntl.h>
#include <gguf.h>
#include <llama.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "engine/backend.h"

namespace realm::engine {
namespace {

constexpr uint32_t parts_max = 999;
constexpr size_t path_bytes_max = 4096;

std::string subject(const std::filesystem::path& file) { return "model file " + file.string() + ": "; }

std::unexpected<Error> damaged(const std::filesystem::path& file, const std::string& how) {
  return fail(ErrorCode::corrupt, subject(file) + how + "; fetch it again");
}

// Size of a regular, readable file that begins as a GGUF file does.
Result<uint64_t> check_outside(const std::filesystem::path& file) {
  const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not make it wait
  if (descriptor < 0) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR) return fail(ErrorCode::not_found, subject(file) + "no such file");
    if (error == EACCES) return fail(ErrorCode::permission_denied, subject(file) + "may not be read by this user");
    return fail(ErrorCode::io, subject(file) + std::strerror(error));
  }
  struct stat status {};
  std::array<char, 4> magic{};
  const bool known = fstat(descriptor, &status) == 0;
  const bool regular = known && S_ISREG(status.st_mode);
  const ssize_t begin = regular ? pread(descriptor, magic.data(), magic.size(), 0) : 0;
  close(descriptor);
  if (!known || begin < 0) return fail(ErrorCode::io, subject(file) + "cannot be read");
  if (!regular) {
    const char* what = S_ISDIR(status.st_mode) ? "is a folder" : "is not a regular file";
    return fail(ErrorCode::invalid_argument, subject(file) + what + "; name a GGUF file");
  }
  if (status.st_size == 0) return damaged(file, "is empty");
  if (begin < static_cast<ssize_t>(magic.size()) || std::memcmp(magic.data(), GGUF_MAGIC, magic.size()) != 0) {
    return fail(ErrorCode::corrupt, subject(file) + "is not a GGUF file; models must be in GGUF format");
  }
  return static_cast<uint64_t>(status.st_size);
}

// Bytes that the file must have for its last tensor to lie inside; saturates on nonsense.
uint64_t bytes_needed(const gguf_context* metadata) {
  uint64_t needed = 0;
  const uint64_t data_begin = gguf_get_data_offset(metadata);
  for (int64_t i = 0; i < gguf_get_n_tensors(metadata); ++i) {
    uint64_t end = 0;
    if (__builtin_add_overflow(uint64_t{gguf_get_tensor_offset(metadata, i)}, uint64_t{gguf_get_tensor_size(metadata, i)}, &end) ||
        __builtin_add_overflow(end, data_begin, &end)) {
      return UINT64_MAX;
    }
    needed = std::max(needed, end);
  }
  return needed;
}

// How many files the model consists of: "split.count", 1 when the file does not say.
uint32_t part_count(const gguf_context* metadata) {
  const int64_t key = gguf_find_key(metadata, "split.count");
  if (key < 0 || gguf_get_kv_type(metadata, key) != GGUF_TYPE_UINT16) return 1;
  return std::max<uint32_t>(1, gguf_get_val_u16(metadata, key));
}

struct CheckedPart {
  ModelFile file;
  uint32_t parts;
};

Result<CheckedPart> check_part(const std::filesystem::path& file) {
  auto bytes = check_outside(file);
  if (!bytes) return fail(std::move(bytes));
  take_last_native_error();
  const std::unique_ptr<gguf_context, decltype(&gguf_free)> metadata(gguf_init_from_file(file.c_str(), {.no_alloc = true, .ctx = nullptr}),
                                                                     gguf_free);
  if (metadata == nullptr) return damaged(file, "its header is damaged or cut off (" + take_last_native_error() + ")");
  const uint64_t needed = bytes_needed(metadata.get());
  if (needed > *bytes) {
    const std::string missing = std::to_string(needed - *bytes) + " of " + std::to_string(needed) + " bytes are missing";
    return damaged(file, "is truncated: " + missing);
  }
  const bool has_rank_head = gguf_find_tensor(metadata.get(), "cls.output.weight") >= 0;
  return CheckedPart{{*bytes, has_rank_head}, part_count(metadata.get())};
}

}  // namespace

Result<ModelFile> check_model_file(const std::filesystem::path& file) {
  start_backends();
  auto first = check_part(file);
  if (!first) return fail(std::move(first));
  if (first->parts == 1) return first->file;
  if (first->parts > parts_max) return damaged(file, "claims to have " + std::to_string(first->parts) + " parts");

  std::array<char, path_bytes_max> text{};
  const auto parts = static_cast<int32_t>(first->parts);
  if (llama_split_prefix(text.data(), text.size(), file.c_str(), 0, parts) <= 0) {
    return fail(ErrorCode::invalid_argument, subject(file) + "is one part of a model in " + std::to_string(parts) +
                                                 " files; name the first, \"...-00001-of-" + "0000N.gguf\"");
  }
  const std::string prefix = text.data();
  ModelFile all = first->file;
  for (int32_t i = 1; i < parts; ++i) {
    llama_split_path(text.data(), text.size(), prefix.c_str(), i, parts);
    auto part = check_part(text.data());
    if (!part) return fail(std::move(part));
    all.bytes += part->file.bytes;
    all.has_rank_head = all.has_rank_head || part->file.has_rank_head;
  }
  return all;
}

}  // namespace realm::engine
