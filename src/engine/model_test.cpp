#include "engine/model.h"

#include <fcntl.h>
#include <gguf.h>
#include <gtest/gtest.h>
#include <llama.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "base/memory.h"
#include "engine/large_stack.h"
#include "engine/tokenizer.h"

namespace realm::engine {
namespace {

namespace fs = std::filesystem;

class ModelFiles : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* file = std::getenv("REALM_MODEL");
    ASSERT_NE(file, nullptr) << "set REALM_MODEL to the SmolLM2 GGUF file (tools/fetch_model.py prints its path)";
    ASSERT_TRUE(fs::exists(file)) << "REALM_MODEL names " << file << ", which is not there";
    real_file_ = file;
    auto model = Model::load({.file = file, .backend = BackendChoice::cpu});
    ASSERT_TRUE(model) << model.error().message;
    model_ = *model;
  }
  static void TearDownTestSuite() { model_.reset(); }

  void SetUp() override {
    ASSERT_NE(model_, nullptr) << "the real model could not be loaded";
    std::string name = "/tmp/realm_model_test_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, std::string_view bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  // A sound GGUF header with what `fill` puts in; nothing behind it.
  template <class Fill>
  fs::path write_header(const std::string& name, const Fill& fill) const {
    gguf_context* metadata = gguf_init_empty();
    fill(metadata);
    EXPECT_TRUE(gguf_write_to_file(metadata, (folder_ / name).c_str(), true));
    gguf_free(metadata);
    return folder_ / name;
  }
  static void add_tensor(gguf_context* metadata, int64_t columns, int64_t rows) {
    ggml_context* scratch = ggml_init({.mem_size = 2 * ggml_tensor_overhead(), .mem_buffer = nullptr, .no_alloc = true});
    ggml_tensor* tensor = ggml_new_tensor_2d(scratch, GGML_TYPE_F32, columns, rows);
    ggml_set_name(tensor, "token_embd.weight");
    gguf_add_tensor(metadata, tensor);
    ggml_free(scratch);
  }
  // The real file's first `bytes`.
  fs::path cut_real_file(uint64_t bytes) const {
    const fs::path copy = folder_ / "cut.gguf";
    fs::copy_file(real_file_, copy);
    fs::permissions(copy, fs::perms::owner_all);
    fs::resize_file(copy, bytes);
    return copy;
  }

  static void expect_refused(const fs::path& file, ErrorCode code, const std::string& words) {
    const auto model = Model::load({.file = file, .backend = BackendChoice::cpu});
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, code) << error_code_name(model.error().code) << ": " << model.error().message;
    EXPECT_NE(model.error().message.find(words), std::string::npos) << model.error().message;
    EXPECT_NE(model.error().message.find(file.string()), std::string::npos) << model.error().message;
    EXPECT_EQ(model.error().message.find('\n'), std::string::npos) << model.error().message;
  }

  static inline fs::path real_file_;
  static inline std::shared_ptr<Model> model_;
  fs::path folder_;
};

// -- files that are no models

TEST_F(ModelFiles, MissingIsNotFound) { expect_refused(folder_ / "no.gguf", ErrorCode::not_found, "no such file"); }

TEST_F(ModelFiles, AFolderIsRefused) { expect_refused(folder_, ErrorCode::invalid_argument, "is a folder"); }

TEST_F(ModelFiles, APipeIsRefusedWithoutWaiting) {
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  expect_refused(pipe, ErrorCode::invalid_argument, "not a regular file");
}

TEST_F(ModelFiles, UnreadableIsPermissionDenied) {
  const fs::path file = write("locked.gguf", "GGUF");
  fs::permissions(folder_, fs::perms::all);
  fs::permissions(file, fs::perms::none);
  const bool root = geteuid() == 0;
  if (root) {
    ASSERT_EQ(seteuid(65'534), 0);  // root may read everything
  }
  expect_refused(file, ErrorCode::permission_denied, "may not be read");
  if (root) {
    ASSERT_EQ(seteuid(0), 0);
  }
}

TEST_F(ModelFiles, EmptyIsCorrupt) { expect_refused(write("empty.gguf", ""), ErrorCode::corrupt, "is empty"); }

TEST_F(ModelFiles, AnotherFormatIsCorrupt) {
  expect_refused(write("text.gguf", "Once upon a time"), ErrorCode::corrupt, "not a GGUF file");
  expect_refused(write("short.gguf", "GG"), ErrorCode::corrupt, "not a GGUF file");
}

TEST_F(ModelFiles, GarbageBehindTheMagicIsCorrupt) {
  std::string garbage = "GGUF";
  for (int i = 0; i < 100'000; ++i) garbage += static_cast<char>(i * 2'654'435'761u >> 13);
  expect_refused(write("garbage.gguf", garbage), ErrorCode::corrupt, "header is damaged");
  expect_refused(write("magic.gguf", "GGUF"), ErrorCode::corrupt, "header is damaged");
}

TEST_F(ModelFiles, TruncatedSaysHowMuchIsMissing) {
  const uint64_t size = fs::file_size(real_file_);
  expect_refused(cut_real_file(size - 1'234'567), ErrorCode::corrupt, "1234567 of " + std::to_string(size) + " bytes are missing");
}

TEST_F(ModelFiles, TruncatedInTheHeaderIsCorrupt) { expect_refused(cut_real_file(100'000), ErrorCode::corrupt, "header is damaged"); }

TEST_F(ModelFiles, AHeaderWithoutAModelIsCorrupt) {
  const fs::path file =
      write_header("hollow.gguf", [](gguf_context* metadata) { gguf_set_val_str(metadata, "general.architecture", "llama"); });
  expect_refused(file, ErrorCode::corrupt, "cannot be loaded");
}

TEST_F(ModelFiles, AnUnknownArchitectureIsUnsupported) {
  const fs::path file =
      write_header("strange.gguf", [](gguf_context* metadata) { gguf_set_val_str(metadata, "general.architecture", "abacus"); });
  expect_refused(file, ErrorCode::unsupported, "abacus");
}

TEST_F(ModelFiles, TooLargeForTheMachineIsResourceExhausted) {
  const fs::path file = write_header("huge.gguf", [](gguf_context* metadata) {
    gguf_set_val_str(metadata, "general.architecture", "llama");
    add_tensor(metadata, 1 << 20, 1 << 20);  // 4 TiB
  });
  expect_refused(file, ErrorCode::corrupt, "bytes are missing");
  fs::resize_file(file, fs::file_size(file) + (uint64_t{4} << 40));  // sparse
  expect_refused(file, ErrorCode::resource_exhausted, "MiB");
}

TEST_F(ModelFiles, AMissingPartOfASplitModelIsNotFound) {
  const auto part_of_two = [](gguf_context* metadata) {
    gguf_set_val_str(metadata, "general.architecture", "llama");
    gguf_set_val_u16(metadata, "split.count", 2);
  };
  expect_refused(write_header("alone.gguf", part_of_two), ErrorCode::invalid_argument, "name the first");
  write_header("m-00001-of-00002.gguf", part_of_two);
  const auto model = Model::load({.file = folder_ / "m-00001-of-00002.gguf", .backend = BackendChoice::cpu});
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::not_found);
  EXPECT_NE(model.error().message.find("m-00002-of-00002.gguf"), std::string::npos) << model.error().message;
}

// -- loading

TEST_F(ModelFiles, ProgressRisesToOne) {
  std::vector<float> seen;
  const auto report = [&](float fraction) {
    seen.push_back(fraction);
    return true;
  };
  const auto model = Model::load({.file = real_file_, .backend = BackendChoice::cpu, .map_file = false, .progress = report});
  ASSERT_TRUE(model) << model.error().message;
  ASSERT_FALSE(seen.empty());
  EXPECT_TRUE(std::ranges::is_sorted(seen));
  EXPECT_EQ(seen.back(), 1.0f);
}

// Resident bytes of this process's mappings of a file.
uint64_t resident_file_bytes(const fs::path& file) {
  std::ifstream maps("/proc/self/smaps");
  uint64_t bytes = 0;
  bool wanted = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(" kB") == std::string::npos) wanted = line.ends_with(fs::canonical(file).string());
    if (wanted && line.starts_with("Rss:")) bytes += std::stoull(line.substr(4)) * 1024;
  }
  return bytes;
}

TEST_F(ModelFiles, PagesOfTheFileAreGivenBackWhenItIsLoaded) {
  const auto model = Model::load({.file = real_file_, .backend = BackendChoice::cpu});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_LT(resident_file_bytes(real_file_), fs::file_size(real_file_) / 10);
}

TEST_F(ModelFiles, LoadingCanBeCancelled) {
  for (const int calls_before : {0, 1, 5}) {
    int calls = 0;
    const auto report = [&](float) { return calls++ < calls_before; };
    const auto model = Model::load({.file = real_file_, .backend = BackendChoice::cpu, .map_file = false, .progress = report});
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, ErrorCode::cancelled) << model.error().message;
    EXPECT_EQ(calls, calls_before + 1);
  }
}

TEST_F(ModelFiles, AnExceptionOfTheProgressCallbackCancels) {
  const auto report = [](float) -> bool { throw std::runtime_error("no"); };
  const auto model = Model::load({.file = real_file_, .backend = BackendChoice::cpu, .progress = report});
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::cancelled);
}

TEST_F(ModelFiles, ABackendWithoutADeviceIsUnsupported) {
  EXPECT_TRUE(require_backend(BackendChoice::cpu));
  EXPECT_TRUE(require_backend(BackendChoice::automatic));
  for (const BackendDevice& device : backend_devices()) {
    if (device.backend == "cuda") return;
  }
  const auto model = Model::load({.file = real_file_, .backend = BackendChoice::cuda});
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::unsupported);
  EXPECT_NE(model.error().message.find("there is: cpu"), std::string::npos) << model.error().message;
}

TEST_F(ModelFiles, BackendNamesAreParsed) {
  EXPECT_EQ(parse_backend("auto"), BackendChoice::automatic);
  EXPECT_EQ(parse_backend("cpu"), BackendChoice::cpu);
  EXPECT_EQ(parse_backend("cuda"), BackendChoice::cuda);
  EXPECT_EQ(parse_backend("CPU").error().code, ErrorCode::invalid_argument);
}

TEST_F(ModelFiles, InfoDescribesTheFile) {
  const ModelInfo& info = model_->info();
  EXPECT_EQ(info.name, real_file_.stem().string());
  EXPECT_EQ(info.architecture, "llama");
  EXPECT_EQ(info.quantization, "Q4_1");
  EXPECT_NE(info.chat_template.find("<|im_start|>"), std::string::npos);
  EXPECT_EQ(info.chat_template_tools, "");
  EXPECT_EQ(info.vocabulary_tokens, 49'152u);
  EXPECT_EQ(info.context_tokens_trained, 8'192u);
  EXPECT_EQ(info.parameters, 134'515'008u);
  EXPECT_GT(info.weights_bytes, 90'000'000u);
  EXPECT_EQ(info.bos_token, 1);
  EXPECT_EQ(info.eos_token, 2);
  EXPECT_FALSE(info.adds_bos);
  EXPECT_TRUE(info.can_roll_back);
}

// -- tokens

const std::vector<std::string>& texts() {
  static const std::vector<std::string> all = {
      "",
      " ",
      "Hello, world!",
      "  two  spaces\n\n\ttab\r\n",
      "<|im_start|>user\nHi<|im_end|>\n<|endoftext|>",
      "Größe, œuvre, Ελλάδα, 日本語のテキスト, العربية, 🙂👩‍👩‍👧",
      "1234567890 3.14159 0xFF",
      "don't can't I'll we've",
      std::string("zero\0byte", 9),
      std::string(5'000, 'a'),
      std::string(5'000, '\n'),
  };
  return all;
}

TEST_F(ModelFiles, TokenizeEqualsLlamaCpp) {
  std::vector<std::string> all = texts();
  all.push_back("broken \xff\xc3 utf-8 \xe2\x82");
  const llama_vocab* vocabulary = llama_model_get_vocab(model_->native());
  for (const std::string& text : all) {
    for (const bool add : {false, true}) {
      for (const bool parse : {false, true}) {
        std::vector<llama_token> expected(text.size() + 8);
        const int32_t count = llama_tokenize(vocabulary, text.data(), static_cast<int32_t>(text.size()), expected.data(),
                                             static_cast<int32_t>(expected.size()), add, parse);
        ASSERT_GE(count, 0);
        expected.resize(static_cast<size_t>(count));
        EXPECT_EQ(model_->tokenize(text, {.add_special = add, .parse_special = parse}).value(), expected) << text.substr(0, 60);
      }
    }
  }
}

TEST_F(ModelFiles, DetokenizeGivesTheTextBack) {
  for (const std::string& text : texts()) {
    std::string back;
    const auto tokens = model_->tokenize(text, {.parse_special = true});
    for (const int32_t token : tokens.value()) {
      ASSERT_TRUE(model_->append_token_text(token, true, back));
    }
    EXPECT_EQ(back, text);
  }
}

TEST_F(ModelFiles, EveryTokenHasAText) {
  std::string all;
  for (int32_t token = 0; model_->is_token(token); ++token) {
    ASSERT_TRUE(model_->append_token_text(token, true, all));
    if (!model_->is_control(token)) continue;
    std::string hidden = "kept";
    ASSERT_TRUE(model_->append_token_text(token, false, hidden));
    EXPECT_EQ(hidden, "kept");
  }
  EXPECT_GT(all.size(), 100'000u);
}

TEST_F(ModelFiles, ControlTokensAreKnown) {
  const auto tokens = model_->tokenize("<|im_start|><|im_end|>word", {.parse_special = true}).value();
  ASSERT_EQ(tokens.size(), 3u);
  EXPECT_TRUE(model_->is_control(tokens[0]));
  EXPECT_FALSE(model_->is_end_of_generation(tokens[0]));
  EXPECT_TRUE(model_->is_control(tokens[1]));
  EXPECT_TRUE(model_->is_end_of_generation(tokens[1]));
  EXPECT_FALSE(model_->is_control(tokens[2]));
  EXPECT_GT(model_->tokenize("<|im_start|>", {}).value().size(), 1u);
}

TEST_F(ModelFiles, IdsOutsideTheVocabularyAreRefused) {
  std::string out = "kept";
  for (const int32_t token : {-1, 49'152, INT32_MAX, INT32_MIN}) {
    EXPECT_FALSE(model_->is_token(token));
    EXPECT_FALSE(model_->is_control(token));
    EXPECT_FALSE(model_->is_end_of_generation(token));
    EXPECT_EQ(model_->append_token_text(token, true, out).error().code, ErrorCode::invalid_argument);
  }
  EXPECT_EQ(out, "kept");
}

// llama.cpp alone throws an exception for each of them: 7 seconds.
TEST_F(ModelFiles, BytesThatAreNoTextCostWhatTextCosts) {
  const auto cpu_s = [&](char byte) {
    const std::string text(tokenize_text_bytes_max / 4, byte);
    const clock_t began = clock();
    EXPECT_TRUE(model_->tokenize(text, {}));
    return static_cast<double>(clock() - began) / CLOCKS_PER_SEC;
  };
  // Three bytes of U+FFFD stand for each.
  EXPECT_LT(cpu_s('\xff'), 10 * cpu_s('a') + 0.1);
}

TEST_F(ModelFiles, MemoryOfALongTextIsGivenBack) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer's allocator keeps it";
#endif
  return_freed_memory();
  const uint64_t before = process_memory().private_bytes;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([] { EXPECT_TRUE(model_->tokenize(std::string(tokenize_text_bytes_max, 'a'), {})); });
    }
  }
  EXPECT_LT(process_memory().private_bytes, before + (8u << 20));
}

TEST_F(ModelFiles, TextAboveTheLimitIsRefused) {
  EXPECT_TRUE(model_->tokenize(std::string(tokenize_text_bytes_max, ' '), {}));
  const auto refused = model_->tokenize(std::string(tokenize_text_bytes_max + 1, ' '), {});
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
}

// -- texts that would overflow a stack

// The real model with a vocabulary that splits text by std::regex: "smollm" and "tekken" have the same length.
TEST_F(ModelFiles, ALongWordDoesNotOverflowTheStack) {
  const fs::path copy = cut_real_file(fs::file_size(real_file_));
  std::fstream file(copy, std::ios::in | std::ios::out | std::ios::binary);
  std::string head(8u << 20, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  const size_t key = head.find("tokenizer.ggml.pre");
  ASSERT_NE(key, std::string::npos);
  const size_t value = head.find("smollm", key);
  ASSERT_NE(value, std::string::npos);
  file.seekp(static_cast<std::streamoff>(value));
  file << "tekken";
  file.close();
  const auto model = Model::load({.file = copy, .backend = BackendChoice::cpu});
  ASSERT_TRUE(model) << model.error().message;
  for (const char letter : {'a', 'A', ' ', '!'}) {
    // On a stack as small as a guest's host call has.
    const std::string text(tokenize_text_bytes_max, letter);
    Result<std::vector<int32_t>> tokens;
    EXPECT_GT(run_on_large_stack(256u << 10, [&] { tokens = (*model)->tokenize(text, {}); }), 0u);
    EXPECT_TRUE(tokens);
  }
  EXPECT_EQ((*model)->tokenize("some words", {}).value(), model_->tokenize("some words", {}).value());
}

TEST(LargeStack, RunsTheTaskAndTellsWhatItUsed) {
  const auto use = [](size_t bytes) {
    return run_on_large_stack(64u << 20, [bytes] {
      auto* used = static_cast<volatile char*>(__builtin_alloca(bytes));
      for (size_t i = 0; i < bytes; i += 1'024) used[i] = 1;
    });
  };
  const size_t little = use(1'000);
  const size_t much = use(10u << 20);
  EXPECT_GT(little, 0u);
  EXPECT_NEAR(static_cast<double>(much - little), 10u << 20, 64u << 10);
  EXPECT_EQ(run_on_large_stack(size_t{1} << 60, [] { FAIL(); }), 0u);
}

}  // namespace
}  // namespace realm::engine
