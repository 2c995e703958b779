// Brings a model into the store's own folder: from a file, an https URL or a Hugging Face repository.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/result.h"
#include "models/download.h"

namespace realm::models {

constexpr uint32_t model_parts_max = 256;

struct PullOptions {
  std::filesystem::path folder;   // the store's own; what is not complete lies in its folder "incoming"
  std::filesystem::path checker;  // see validate_in_child
  std::string name = {};          // what the model is to be called; empty: as its file
  std::string sha256 = {};        // that the file must have; empty: what the server states, if anything
  bool allow_private = false;     // see DownloadOptions
  std::string hub = {};           // of hf: sources, such as $HF_ENDPOINT; empty: the public one
  std::string token = {};         // for the hub, such as $HF_TOKEN
  Progress progress = {};         // bytes of the file that is on its way; a model in parts is several files
};

struct PulledModel {
  std::string name;
  std::filesystem::path file;  // in parts: the first one
  uint64_t bytes = 0;
  std::string sha256;  // of `file`
};

// `source`: a path, file://PATH, https://..., or hf:OWNER/REPO[@REVISION]/FILE. Of a model in parts any part stands for all.
//
// The file is published, by a rename, when it is complete, has the right SHA-256 and has passed validate_in_child; a model of that name
// is replaced, and who has it loaded keeps the old one. Fails as download() and validate_in_child() do, with corrupt for a wrong
// SHA-256 and already_exists while another process pulls the same model. Blocks. Any thread.
Result<PulledModel> pull(const std::string& source, const PullOptions& options);

}  // namespace realm::models
