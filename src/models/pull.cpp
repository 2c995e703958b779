#include "models/pull.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <vector>

#include "models/file_hash.h"
#include "models/file_name.h"
#include "models/validate_child.h"

namespace realm::models {
namespace {

namespace fs = std::filesystem;

constexpr const char* public_hub = "https://huggingface.co";
constexpr std::chrono::hours incomplete_kept{24 * 30};
constexpr size_t copy_bytes = 1u << 20;

// Where the files of a model come from.
struct Source {
  std::string base;  // everything before the file name, with a '/' at the end
  std::string file;
  bool is_remote = false;
  bool is_hub = false;
};

Result<Source> parse_source(const std::string& text, const PullOptions& options) {
  std::string place = text;
  Source source;
  if (text.starts_with("hf:")) {
    const std::string path = text.substr(3);
    const size_t owner_end = path.find('/');
    const size_t repo_end = owner_end == std::string::npos ? owner_end : path.find('/', owner_end + 1);
    if (repo_end == std::string::npos || repo_end + 1 == path.size() || owner_end == 0) {
      return fail(ErrorCode::invalid_argument, text + ": must be hf:OWNER/REPO/FILE, such as hf:owner/model-GGUF/model.Q4_K_M.gguf");
    }
    std::string repo = path.substr(0, repo_end);
    std::string revision = "main";
    if (const size_t at = repo.find('@'); at != std::string::npos) {
      revision = repo.substr(at + 1);
      repo.resize(at);
    }
    place = (options.hub.empty() ? public_hub : options.hub) + "/" + repo + "/resolve/" + revision + path.substr(repo_end);
    source.is_hub = true;
  }
  if (place.starts_with("http://")) return fail(ErrorCode::invalid_argument, place + ": models are pulled over https only");
  source.is_remote = place.starts_with("https://");
  if (place.starts_with("file://")) place = place.substr(7);
  const size_t slash = place.rfind('/');
  source.base = slash == std::string::npos ? "./" : place.substr(0, slash + 1);
  source.file = slash == std::string::npos ? place : place.substr(slash + 1);
  return source;
}

// The name of the file alone, without what a URL may have behind it.
std::string bare(const std::string& file, bool is_remote) { return is_remote ? file.substr(0, file.find_first_of("?#")) : file; }

// Held while a model is pulled, against another process that pulls it.
class PullLock {
 public:
  explicit PullLock(const fs::path& file) : descriptor_(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    held_ = descriptor_ >= 0 && flock(descriptor_, LOCK_EX | LOCK_NB) == 0;
  }
  ~PullLock() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  PullLock(const PullLock&) = delete;
  PullLock& operator=(const PullLock&) = delete;
  bool held() const { return held_; }

 private:
  int descriptor_;
  bool held_ = false;
};

void forget_old(const fs::path& incoming) {
  std::error_code error;
  const auto oldest = fs::file_time_type::clock::now() - incomplete_kept;
  for (fs::directory_iterator file(incoming, error), end; !error && file != end; file.increment(error)) {
    std::error_code ignored;
    if (file->last_write_time(ignored) < oldest) fs::remove(file->path(), ignored);
  }
}

Result<void> copy_file(const fs::path& from, const fs::path& to, const Progress& progress) {
  std::ifstream in(from, std::ios::binary);
  if (!in) return fail(ErrorCode::not_found, from.string() + ": no such file, or it cannot be read");
  std::error_code error;
  const uint64_t total = fs::file_size(from, error);
  if (error) return fail(ErrorCode::invalid_argument, from.string() + ": " + error.message());
  const fs::path part = to.string() + ".part";
  std::ofstream out(part, std::ios::binary | std::ios::trunc);
  std::vector<char> buffer(copy_bytes);
  uint64_t done = 0;
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || in.gcount() > 0) {
    out.write(buffer.data(), in.gcount());
    done += static_cast<uint64_t>(in.gcount());
    if (progress && !progress(done, total)) {
      fs::remove(part, error);
      return fail(ErrorCode::cancelled, "stopped");
    }
  }
  out.close();
  if (!in.eof() || !out) {
    fs::remove(part, error);
    return fail(ErrorCode::io, to.string() + ": cannot be written, or " + from.string() + " not be read; is the disk full?");
  }
  fs::rename(part, to, error);
  return error ? fail(ErrorCode::io, to.string() + ": " + error.message()) : Result<void>{};
}

void make_durable(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
}

class Puller {
 public:
  Puller(const Source& source, const PartName& as, const PullOptions& options)
      : source_(source), as_(as), options_(options), incoming_(options.folder / "incoming") {}

  Result<PulledModel> run() {
    for (uint32_t part = 1; part <= as_.parts; ++part) {
      if (auto fetched = fetch(part); !fetched) return fail(std::move(fetched));
    }
    const fs::path first = incoming_ / file_of(1);
    if (auto checked = validate_in_child(options_.checker, first); !checked) {
      // Of a model in parts too: which one is bad cannot be told.
      for (uint32_t part = 1; part <= as_.parts; ++part) drop(incoming_ / file_of(part));
      return fail(std::move(checked));
    }
    auto hash = hash_of(first);
    if (!hash) return fail(std::move(hash));
    // The first part last: it is what makes the model appear.
    for (uint32_t part = as_.parts; part >= 1; --part) {
      std::error_code error;
      make_durable(incoming_ / file_of(part));
      fs::rename(incoming_ / file_of(part), options_.folder / file_of(part), error);
      if (error) return fail(ErrorCode::io, (options_.folder / file_of(part)).string() + ": " + error.message());
    }
    make_durable(options_.folder);
    return PulledModel{as_.name, options_.folder / file_of(1), bytes_, std::move(*hash)};
  }

 private:
  std::string file_of(uint32_t part) const { return part_file({as_.name, part, as_.parts}); }

  // The file's name where it comes from.
  std::string source_of(uint32_t part) const {
    if (as_.parts == 1) return source_.base + source_.file;
    const std::string name = bare(source_.file, source_.is_remote);
    const PartName given = part_name(fs::path(name).stem().string());
    return source_.base + part_file({given.name, part, given.parts}) + source_.file.substr(name.size());
  }

  static void drop(const fs::path& file) {
    std::error_code ignored;
    fs::remove(file, ignored);
  }

  Result<void> fetch(uint32_t part) {
    const fs::path file = incoming_ / file_of(part);
    std::string wanted = part == 1 ? options_.sha256 : "";
    std::error_code error;
    if (source_.is_remote && as_.parts > 1 && fs::exists(file, error)) {  // an earlier pull got so far
      bytes_ += fs::file_size(file, error);
      return {};
    }
    if (source_.is_remote) {
      auto downloaded = download(
          source_of(part), file,
          {.allow_private = options_.allow_private, .bearer_token = source_.is_hub ? options_.token : "", .progress = options_.progress});
      if (!downloaded) return fail(std::move(downloaded));
      if (wanted.empty()) wanted = downloaded->sha256_stated;
    } else if (auto copied = copy_file(source_of(part), file, options_.progress); !copied) {
      return fail(std::move(copied));
    }
    bytes_ += fs::file_size(file, error);
    if (wanted.empty()) return {};
    auto hash = hash_of(file);
    if (hash && *hash == wanted) return {};
    drop(file);
    if (!hash) return fail(std::move(hash));
    return fail(ErrorCode::corrupt, source_of(part) + ": has the SHA-256 " + *hash + ", not " + wanted + "; nothing was published");
  }

  const Source& source_;
  const PartName as_;
  const PullOptions& options_;
  const fs::path incoming_;
  uint64_t bytes_ = 0;
};

}  // namespace

Result<PulledModel> pull(const std::string& text, const PullOptions& options) {
  const auto source = parse_source(text, options);
  if (!source) return std::unexpected(source.error());
  const fs::path file = bare(source->file, source->is_remote);
  PartName as = part_name(file.stem().string());
  if (!options.name.empty()) as.name = options.name;
  if (file.extension() != ".gguf" && options.name.empty()) {
    return fail(ErrorCode::invalid_argument, text + ": the file's name does not end in .gguf; give the model a name with --name");
  }
  if (!is_model_name(as.name)) {
    return fail(ErrorCode::invalid_argument,
                "'" + as.name + "' cannot be a model's name: 1 to 128 letters, digits, '.', '_' and '-'; see --name");
  }
  if (as.parts > model_parts_max || (as.parts > 1 && !options.sha256.empty())) {
    return fail(ErrorCode::invalid_argument, text + ": a model in parts may have 256 at most, and --sha256 is of a single file");
  }
  const fs::path incoming = options.folder / "incoming";
  std::error_code error;
  fs::create_directories(incoming, error);
  if (error) return fail(ErrorCode::io, incoming.string() + ": " + error.message());
  forget_old(incoming);
  const PullLock lock(incoming / (as.name + ".lock"));
  if (!lock.held()) return fail(ErrorCode::already_exists, "model " + as.name + ": another process pulls it just now");
  return Puller(*source, as, options).run();
}

}  // namespace realm::models
