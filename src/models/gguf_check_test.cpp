#include "models/gguf_check.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

namespace realm::models {
namespace {

// Writes GGUF; every field can be spoilt.
struct Writer {
  std::vector<uint8_t> bytes;

  template <class T>
  Writer& number(T value) {
    const auto* begin = reinterpret_cast<const uint8_t*>(&value);
    bytes.insert(bytes.end(), begin, begin + sizeof value);
    return *this;
  }
  Writer& text(std::string_view value) {
    number<uint64_t>(value.size());
    bytes.insert(bytes.end(), value.begin(), value.end());
    return *this;
  }
  Writer& natural(std::string_view key, uint32_t value) { return text(key).number<uint32_t>(4).number(value); }
  Writer& words(std::string_view key, std::string_view value) { return text(key).number<uint32_t>(8).text(value); }
};

struct File {
  uint32_t magic = 0x46554747;
  uint32_t version = 3;
  uint64_t tensors = 1;
  uint64_t keys = 8;
  std::string architecture_key = "general.architecture";
  uint32_t architecture_type = 8;
  std::string architecture = "llama";
  uint32_t alignment = 32;
  uint64_t array_items = 4;
  uint32_t array_type = 8;
  uint64_t scores = 4;
  uint32_t scores_type = 6;
  uint32_t bos = 1;
  std::string last_key = "llama.embedding_length";
  std::string tensor = "token_embd.weight";
  uint32_t dimensions = 2;
  uint64_t columns = 32;
  uint64_t rows = 4;
  uint32_t type = 8;  // Q8_0: 34 bytes for 32 elements
  uint64_t offset = 0;
  int64_t data = 4 * 34;

  std::vector<uint8_t> write() const {
    Writer out;
    out.number(magic).number(version).number(tensors).number(keys);
    out.text(architecture_key).number(architecture_type).text(architecture);
    out.natural("general.alignment", alignment);
    out.text("tokenizer.ggml.tokens").number<uint32_t>(9).number(array_type).number(array_items);
    for (int i = 0; i < 4; ++i) out.text("t" + std::to_string(i));
    out.text("tokenizer.ggml.scores").number<uint32_t>(9).number(scores_type).number(scores);
    for (uint64_t i = 0; i < scores && i < 16; ++i) out.number<float>(0);
    out.natural("tokenizer.ggml.bos_token_id", bos).natural("llama.block_count", 2).natural("llama.attention.head_count", 2);
    out.natural(last_key, 64);
    out.text(tensor).number(dimensions).number(columns).number(rows).number(type).number(offset);
    const size_t begin = (out.bytes.size() + 31) / 32 * 32;
    out.bytes.resize(begin + static_cast<size_t>(std::max<int64_t>(data, 0)));
    return out.bytes;
  }
};

std::string fault(const File& file) {
  const auto bytes = file.write();
  const auto checked = check_gguf(bytes);
  return checked ? "" : checked.error().message;
}

TEST(GgufCheck, AGoodFileIsDescribed) {
  const auto bytes = File().write();
  const auto summary = check_gguf(bytes);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->architecture, "llama");
  EXPECT_EQ(summary->quantization, "Q8_0");
  EXPECT_EQ(summary->parameters, 128u);
  EXPECT_EQ(summary->vocabulary_tokens, 4u);
  EXPECT_EQ(summary->kv_bytes_per_token, 2u * 2 * 2 * 32 * 2);
}

template <class T>
File with(T File::*member, T value) {
  File file;
  file.*member = value;
  return file;
}

TEST(GgufCheck, EverySpoiltFieldIsRefused) {
  const uint64_t huge = uint64_t{1} << 62;
  const std::pair<File, const char*> spoilt[] = {
      {with(&File::magic, 0x46554746u), "not a GGUF"},
      {with(&File::version, 0u), "version 0"},
      {with(&File::version, 1u), "version 1"},
      {with(&File::version, 4u), "version 4"},
      {with(&File::version, 0x03000000u), "version"},
      {with(&File::tensors, huge), "tensors"},
      {with(&File::tensors, uint64_t{2}), "tensor 1"},
      {with(&File::keys, huge), "keys"},
      {with(&File::keys, uint64_t{9}), ""},
      {with(&File::keys, uint64_t{7}), ""},
      {with(&File::architecture_key, std::string()), "key 0"},
      {with(&File::architecture_key, std::string(300, 'a')), "key 0"},
      {with(&File::architecture_key, std::string("general\x01")), "key 0"},
      {with(&File::architecture_key, std::string("general.name")), "general.architecture"},
      {with(&File::architecture_type, 13u), "unknown type 13"},
      {with(&File::architecture_type, ~0u), "unknown type"},
      {with(&File::architecture, std::string("with space")), "general.architecture"},
      {with(&File::alignment, 0u), "alignment"},
      {with(&File::alignment, 33u), "alignment"},
      {with(&File::alignment, 1u << 30), "alignment"},
      {with(&File::array_items, huge), "items"},
      {with(&File::array_items, uint64_t{5}), ""},
      {with(&File::array_items, uint64_t{3}), ""},
      {with(&File::array_type, 9u), "array of unknown type"},
      {with(&File::array_type, 99u), "array of unknown type"},
      {with(&File::scores, uint64_t{3}), "scores"},
      {with(&File::scores, uint64_t{5}), "scores"},
      {with(&File::scores_type, 5u), "scores"},
      {with(&File::bos, 4u), "bos_token_id"},
      {with(&File::bos, ~0u), "bos_token_id"},
      {with(&File::last_key, std::string("llama.block_count")), "twice"},
      {with(&File::tensor, std::string()), "tensor 0"},
      {with(&File::tensor, std::string(1'000, 'x')), "tensor 0"},
      {with(&File::dimensions, 0u), "dimensions"},
      {with(&File::dimensions, 5u), "dimensions"},
      {with(&File::dimensions, 3u), ""},
      {with(&File::columns, uint64_t{0}), "dimension 0"},
      {with(&File::columns, huge), "dimension 0"},
      {with(&File::columns, uint64_t{33}), "whole blocks"},
      {with(&File::rows, uint64_t{0}), "dimension 1"},
      {with(&File::rows, uint64_t{1} << 43), "dimension 1"},
      {with(&File::rows, uint64_t{5}), ""},
      {with(&File::type, 4u), "unknown type 4"},
      {with(&File::type, 1'000u), "unknown type"},
      {with(&File::offset, uint64_t{1}), "aligned"},
      {with(&File::offset, uint64_t{32}), "beyond the file"},
      {with(&File::offset, huge), "beyond the file"},
      {with(&File::data, int64_t{4 * 34 - 1}), "beyond the file"},
      {with(&File::data, int64_t{0}), "beyond the file"},
  };
  for (const auto& [file, words] : spoilt) {
    const std::string said = fault(file);
    EXPECT_NE(said, "") << words;
    EXPECT_NE(said.find(words), std::string::npos) << said;
  }
}

TEST(GgufCheck, EveryCutFileIsRefused) {
  const auto bytes = File().write();
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(check_gguf(std::span(bytes).first(length))) << length;
  }
}

TEST(GgufCheck, RandomChangesNeverHurt) {
  const auto good = File().write();
  std::mt19937 random(1);
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = good;
    for (int i = 0; i < 3; ++i) bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    static_cast<void>(check_gguf(bytes));
  }
}

}  // namespace
}  // namespace realm::models
