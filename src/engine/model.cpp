#include "engine/model.h"

#include <llama.h>

#include <algorithm>
#include <array>
#include <exception>

#include "base/memory.h"
#include "engine/file_pages.h"
#include "engine/model_file.h"
#include "engine/tokenizer.h"

namespace realm::engine {
namespace {

constexpr uint8_t end_of_generation_flag = 1;
constexpr uint8_t control_flag = 2;

std::string file_name_without_suffix(const std::filesystem::path& file) {
  return file.extension() == ".gguf" ? file.stem().string() : file.filename().string();
}

std::string mebibytes(uint64_t bytes) { return std::to_string((bytes + (1u << 20) - 1) >> 20) + " MiB"; }

// A mapped file needs its pages as much as a copy does: a model that does not fit would be read from disk again for every step.
// Layers that go to a device need none here, so its memory counts too.
Result<void> check_memory(const ModelOptions& options, uint64_t weights_bytes) {
  uint64_t available = free_memory_bytes();
  for (const BackendDevice& device : backend_devices()) {
    if (options.backend != BackendChoice::cpu && device.backend != "cpu") available += device.memory_free_bytes;
  }
  if (weights_bytes <= available) return {};
  return fail(ErrorCode::resource_exhausted, "model file " + options.file.string() + " needs " + mebibytes(weights_bytes) +
                                                 " of memory and " + mebibytes(available) + " are free; use a smaller one");
}

// "Q4_K - Medium" becomes "Q4_K_M", "IQ3_XS - 3.3 bpw" becomes "IQ3_XS", "all F32" becomes "F32".
std::string quantization_name(const llama_model* model) {
  const auto type = static_cast<llama_ftype>(llama_model_ftype(model) & ~LLAMA_FTYPE_GUESSED);
  std::string name = llama_ftype_name(type);
  if (name.starts_with("unknown")) return "unknown";
  if (name.starts_with("all ")) name.erase(0, 4);
  const size_t dash = name.find(" - ");
  if (dash == std::string::npos) return name;
  const std::string remark = name.substr(dash + 3);
  name.erase(dash);
  if (remark == "Small" || remark == "Medium" || remark == "Large") name += std::string("_") + remark[0];
  return name;
}

std::string metadata_text(const llama_model* model, const char* key) {
  std::array<char, 128> text{};
  return llama_model_meta_val_str(model, key, text.data(), text.size()) < 0 ? std::string() : std::string(text.data());
}

std::string template_text(const llama_model* model, const char* name) {
  const char* text = llama_model_chat_template(model, name);
  return text == nullptr ? std::string() : std::string(text);
}

// llama.cpp's numbers (enum llama_pooling_type), as <architecture>.pooling_type has them.
Pooling pooling_of(const llama_model* model, bool has_rank_head) {
  const std::string stated = metadata_text(model, (metadata_text(model, "general.architecture") + ".pooling_type").c_str());
  if (stated == std::to_string(LLAMA_POOLING_TYPE_CLS)) return Pooling::first;
  if (stated == std::to_string(LLAMA_POOLING_TYPE_RANK) && has_rank_head) return Pooling::rank;
  return stated == std::to_string(LLAMA_POOLING_TYPE_LAST) ? Pooling::last : Pooling::mean;
}

ModelInfo describe(const llama_model* model, const llama_vocab* vocabulary, const ModelOptions& options, bool has_rank_head) {
  const Pooling pooling = pooling_of(model, has_rank_head);
  const auto values = pooling == Pooling::rank ? static_cast<int32_t>(llama_model_n_cls_out(model)) : llama_model_n_embd_out(model);
  return {
      .name = options.name.empty() ? file_name_without_suffix(options.file) : options.name,
      .architecture = metadata_text(model, "general.architecture"),
      .quantization = quantization_name(model),
      .chat_template = template_text(model, nullptr),
      .chat_template_tools = template_text(model, "tool_use"),
      .rerank_template = template_text(model, "rerank"),
      .weights_bytes = llama_model_size(model),
      .parameters = llama_model_n_params(model),
      .context_tokens_trained = static_cast<uint32_t>(std::max(0, llama_model_n_ctx_train(model))),
      .vocabulary_tokens = static_cast<uint32_t>(llama_vocab_n_tokens(vocabulary)),
      .embedding_values = static_cast<uint32_t>(std::max(0, values)),
      .pooling = pooling,
      .bos_token = llama_vocab_bos(vocabulary),
      .eos_token = llama_vocab_eos(vocabulary),
      .eot_token = llama_vocab_eot(vocabulary),
      .adds_bos = llama_vocab_get_add_bos(vocabulary),
      .adds_eos = llama_vocab_get_add_eos(vocabulary),
      .can_roll_back = !llama_model_is_recurrent(model) && !llama_model_is_hybrid(model),
  };
}

struct Progress {
  static constexpr float release_step = 1.0f / 16;

  const ModelOptions* options;
  float released = 0;
  bool cancelled = false;

  static bool on_progress(float fraction, void* self) noexcept {
    auto& progress = *static_cast<Progress*>(self);
    try {
      if (progress.options->map_file && fraction >= progress.released + release_step) {
        release_file_pages(progress.options->file);
        progress.released = fraction;
      }
      if (!progress.options->progress) return true;
      progress.cancelled = progress.cancelled || !progress.options->progress(fraction);
    } catch (...) {
      progress.cancelled = true;
    }
    return !progress.cancelled;
  }
};

// Which kind of failure llama.cpp's own words describe.
ErrorCode classify(const std::string& native_error) {
  const auto says = [&](const char* words) { return native_error.find(words) != std::string::npos; };
  if (says("unknown model architecture") || says("unknown pre-tokenizer") || says("unsupported")) return ErrorCode::unsupported;
  if (says("allocate") || says("out of memory") || says("bad_alloc")) return ErrorCode::resource_exhausted;
  return ErrorCode::corrupt;
}

Result<llama_model*> load_native(const ModelOptions& options) {
  Progress progress{.options = &options};
  std::array<ggml_backend_dev_t, 1> no_devices{nullptr};
  llama_model_params params = llama_model_default_params();
  params.load_mode = options.map_file ? LLAMA_LOAD_MODE_MMAP : LLAMA_LOAD_MODE_NONE;
  params.progress_callback = &Progress::on_progress;
  params.progress_callback_user_data = &progress;
  params.n_gpu_layers = static_cast<int32_t>(std::min<uint32_t>(options.gpu_layers_max, INT32_MAX));
  if (options.backend == BackendChoice::cpu) params.devices = no_devices.data();

  take_last_native_error();
  std::string reason;
  llama_model* model = nullptr;
  try {
    model = llama_model_load_from_file(options.file.c_str(), params);
  } catch (const std::exception& e) {
    reason = e.what();
  }
  if (model != nullptr) {
    if (options.map_file) release_file_pages(options.file);
    return model;
  }
  const std::string subject = "model file " + options.file.string() + ": ";
  if (progress.cancelled) return fail(ErrorCode::cancelled, subject + "loading was cancelled");
  if (reason.empty()) reason = take_last_native_error();
  return fail(classify(reason), subject + "cannot be loaded: " + reason);
}

}  // namespace

Result<std::shared_ptr<Model>> Model::load(const ModelOptions& options) try {
  start_backends();
  if (auto backend = require_backend(options.backend); !backend) return fail(std::move(backend));
  auto file = check_model_file(options.file);
  if (!file) return fail(std::move(file));
  if (auto memory = check_memory(options, file->bytes); !memory) return fail(std::move(memory));
  auto native = load_native(options);
  if (!native) return fail(std::move(native));

  std::shared_ptr<Model> model(new Model);
  model->model_ = *native;
  model->vocabulary_ = llama_model_get_vocab(*native);
  model->info_ = describe(model->model_, model->vocabulary_, options, file->has_rank_head);
  if (model->info_.vocabulary_tokens == 0 || !llama_model_has_decoder(*native) || llama_model_is_diffusion(*native)) {
    return fail(ErrorCode::unsupported, "model file " + options.file.string() + ": is not one that generates text token by token");
  }
  model->tokenizer_ = std::make_unique<Tokenizer>(model->vocabulary_);
  model->token_flags_.resize(model->info_.vocabulary_tokens);
  for (uint32_t i = 0; i < model->info_.vocabulary_tokens; ++i) {
    const auto token = static_cast<llama_token>(i);
    model->token_flags_[i] = static_cast<uint8_t>((llama_vocab_is_eog(model->vocabulary_, token) ? end_of_generation_flag : 0) |
                                                  (llama_vocab_is_control(model->vocabulary_, token) ? control_flag : 0));
  }
  return model;
} catch (const std::exception& e) {
  return fail(ErrorCode::resource_exhausted, "model file " + options.file.string() + ": " + e.what());
}

Model::Model() = default;

Model::~Model() {
  if (model_ != nullptr) llama_model_free(model_);
}

Result<std::vector<int32_t>> Model::tokenize(std::string_view text, TokenizeOptions options) const {
  if (text.size() > tokenize_text_bytes_max) {
    return fail(ErrorCode::invalid_argument,
                "text of " + std::to_string(text.size()) + " bytes is longer than the limit of " + std::to_string(tokenize_text_bytes_max));
  }
  return tokenizer_->tokenize(text, options.add_special, options.parse_special);
}

Result<void> Model::append_token_text(int32_t token, bool special, std::string& out) const {
  if (!is_token(token)) {
    return fail(ErrorCode::invalid_argument,
                "token id " + std::to_string(token) + " is outside the vocabulary of " + std::to_string(info_.vocabulary_tokens));
  }
  std::array<char, 256> text;
  const auto write = [&](char* to, size_t capacity) {
    return llama_token_to_piece(vocabulary_, token, to, static_cast<int32_t>(capacity), 0, special);
  };
  const int32_t count = write(text.data(), text.size());
  if (count >= 0) {
    out.append(text.data(), static_cast<size_t>(count));
    return {};
  }
  const size_t before = out.size();
  out.resize(before + static_cast<size_t>(-count));
  write(out.data() + before, static_cast<size_t>(-count));
  return {};
}

bool Model::is_end_of_generation(int32_t token) const noexcept {
  return is_token(token) && (token_flags_[static_cast<size_t>(token)] & end_of_generation_flag) != 0;
}

bool Model::is_control(int32_t token) const noexcept {
  return is_token(token) && (token_flags_[static_cast<size_t>(token)] & control_flag) != 0;
}

const Tensors& Model::tensors() const {
  std::call_once(tensors_once_, [this] { tensors_.emplace(model_); });
  return *tensors_;
}

std::optional<std::string> Model::metadata(std::string_view key) const {
  if (key.find('\0') != std::string_view::npos) return std::nullopt;
  const std::string name(key);
  const int32_t length = llama_model_meta_val_str(model_, name.c_str(), nullptr, 0);
  if (length < 0) return std::nullopt;
  std::string value(static_cast<size_t>(length) + 1, '\0');
  llama_model_meta_val_str(model_, name.c_str(), value.data(), value.size());
  value.pop_back();
  return value;
}

const std::vector<uint8_t>& Model::sorted_vocabulary() const {
  std::call_once(sorted_once_, [this] {
    std::vector<std::pair<std::string, int32_t>> texts;
    for (uint32_t i = 0; i < info_.vocabulary_tokens; ++i) {
      const auto token = static_cast<int32_t>(i);
      if (token_flags_[i] != 0) continue;
      std::string text;
      (void)append_token_text(token, false, text);
      if (!text.empty() && text.size() <= UINT8_MAX) texts.emplace_back(std::move(text), token);
    }
    std::ranges::sort(texts);
    std::string_view previous;
    for (const auto& [text, token] : texts) {
      const auto shared = std::ranges::mismatch(text, previous).in1 - text.begin();
      for (int shift = 0; shift < 32; shift += 8) sorted_vocabulary_.push_back(static_cast<uint8_t>(static_cast<uint32_t>(token) >> shift));
      sorted_vocabulary_.push_back(static_cast<uint8_t>(shared));
      sorted_vocabulary_.push_back(static_cast<uint8_t>(text.size() - static_cast<size_t>(shared)));
      sorted_vocabulary_.insert(sorted_vocabulary_.end(), text.begin() + shared, text.end());
      previous = text;
    }
  });
  return sorted_vocabulary_;
}

}  // namespace realm::engine
