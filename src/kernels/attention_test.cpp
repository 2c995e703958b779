#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/tested_sets.h"

namespace realm::kernels {
namespace {

uint16_t half(float value) {
  const auto exact = static_cast<_Float16>(value);
  uint16_t bits;
  std::memcpy(&bits, &exact, sizeof(bits));
  return bits;
}

double from_half(uint16_t bits) {
  _Float16 value;
  std::memcpy(&value, &bits, sizeof(value));
  return static_cast<double>(value);
}

struct Shape {
  int tokens = 1;
  int heads = 1;
  int kv_heads = 1;
  int streams = 1;
  int positions = 64;
  int key_size = 64;
  int value_size = 64;
  KvType type = KvType::f16;
  float softcap = 0;
  float max_bias = 0;
  bool mask = true;
  bool sinks = false;
  bool causal = true;
  int window = 0;  // positions that a token looks back; 0: all
};

size_t vector_bytes(KvType type, int size) {
  const auto values = static_cast<size_t>(size);
  return type == KvType::f32 ? values * 4 : type == KvType::q8_0 ? values / 32 * 34 : values * 2;
}

// One made problem. Keys and values that no token may look at are not numbers, so that reading one shows.
class Problem {
 public:
  Problem(const Shape& shape, uint32_t seed) : shape_(shape), random_(seed) {
    const auto rows = static_cast<size_t>(shape.streams * shape.tokens * shape.heads);
    queries_.resize(rows * static_cast<size_t>(shape.key_size));
    for (float& value : queries_) value = normal_(random_);
    for (int i = 0; i < shape.heads; ++i) sinks_.push_back(normal_(random_));
    for (int i = 0; i < shape.streams; ++i) lengths_.push_back(length_of(i));
    make_mask();
    make_vectors(keys_, key_values_, shape.key_size);
    make_vectors(values_, value_values_, shape.value_size);
  }

  std::vector<float> run(const KernelSet& kernels, int workers) const {
    std::vector<float> out(static_cast<size_t>(shape_.streams * shape_.tokens * shape_.heads * shape_.value_size), NAN);
    compute(kernels, workers, describe(out.data()));
    return out;
  }

  // One token of one stream alone.
  std::vector<float> run_one(const KernelSet& kernels, int stream, int token) const {
    std::vector<float> out(static_cast<size_t>(shape_.heads * shape_.value_size), NAN);
    Attention task = describe(out.data());
    task.queries.data = task.queries.at(token, 0, stream);
    task.keys.data = task.keys.at(0, 0, stream);
    task.values.data = task.values.at(0, 0, stream);
    task.mask += static_cast<size_t>(stream) * task.mask_stream_step + static_cast<size_t>(token) * task.mask_token_step;
    task.tokens = task.streams = task.kv_streams = task.mask_streams = 1;
    compute(kernels, 1, task);
    return out;
  }

  std::vector<double> reference() const {
    std::vector<double> out;
    for (int stream = 0; stream < shape_.streams; ++stream) {
      for (int token = 0; token < shape_.tokens; ++token) {
        for (int head = 0; head < shape_.heads; ++head) reference_row(stream, token, head, out);
      }
    }
    return out;
  }

 private:
  static void compute(const KernelSet& kernels, int workers, const Attention& task) {
    const Work work = make_work(kernels.attention_work_bytes(task, workers));
    work_together(workers, [&](const Worker& worker) { kernels.attend(task, worker, work.get()); });
  }

  int length_of(int stream) {
    if (!shape_.mask) return shape_.positions;
    if (stream == 1) return shape_.positions;
    return std::min(shape_.positions, shape_.tokens + static_cast<int>(random_() % static_cast<uint32_t>(shape_.positions)));
  }

  bool visible(int stream, int token, int position) const {
    const int length = lengths_[static_cast<size_t>(stream)];
    const int last = shape_.causal && shape_.mask ? length - shape_.tokens + token : length - 1;
    return position <= last && (shape_.window == 0 || position > last - shape_.window);
  }

  float bias(int token, int position) const { return shape_.max_bias > 0 ? -static_cast<float>(std::abs(position - token)) / 8 : 0; }

  void make_mask() {
    for (int stream = 0; stream < shape_.streams; ++stream) {
      for (int token = 0; token < shape_.tokens; ++token) {
        for (int i = 0; i < shape_.positions; ++i) mask_.push_back(visible(stream, token, i) ? half(bias(token, i)) : 0xfc00);
      }
    }
  }

  bool seen_by_any(int stream, int position) const {
    for (int token = 0; token < shape_.tokens; ++token) {
      if (visible(stream, token, position)) return true;
    }
    return false;
  }

  // [stream][position][head], as bytes and as what they mean.
  void make_vectors(std::vector<char>& bytes, std::vector<double>& meaning, int size) {
    for (int stream = 0; stream < shape_.streams; ++stream) {
      for (int position = 0; position < shape_.positions; ++position) {
        const bool seen = seen_by_any(stream, position);
        for (int head = 0; head < shape_.kv_heads; ++head) {
          for (int i = 0; i < size; i += 32) append_32(bytes, meaning, seen);
        }
      }
    }
  }

  void append_32(std::vector<char>& bytes, std::vector<double>& meaning, bool seen) {
    const auto append = [&bytes](const auto& value) {
      const char* from = reinterpret_cast<const char*>(&value);
      bytes.insert(bytes.end(), from, from + sizeof(value));
    };
    const uint16_t scale = seen ? half(normal_(random_) / 100) : half(NAN);
    if (shape_.type == KvType::q8_0) append(scale);
    for (int i = 0; i < 32; ++i) {
      const float value = seen ? normal_(random_) : NAN;
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof(bits));
      const uint16_t upper = static_cast<uint16_t>(bits >> 16);
      const auto byte = static_cast<int8_t>(random_());
      const uint32_t rounded = static_cast<uint32_t>(upper) << 16;
      float bfloat;
      std::memcpy(&bfloat, &rounded, sizeof(bfloat));
      switch (shape_.type) {
        case KvType::f32:
          append(value), meaning.push_back(value);
          break;
        case KvType::f16:
          append(half(value)), meaning.push_back(from_half(half(value)));
          break;
        case KvType::bf16:
          append(upper), meaning.push_back(bfloat);
          break;
        case KvType::q8_0:
          append(byte), meaning.push_back(from_half(scale) * byte);
          break;
      }
    }
  }

  Vectors layout(const std::vector<char>& bytes, int size) const {
    const size_t step = vector_bytes(shape_.type, size);
    const size_t heads = static_cast<size_t>(shape_.kv_heads);
    return {bytes.data(), step * heads, step, step * heads * static_cast<size_t>(shape_.positions)};
  }

  Attention describe(float* out) const {
    const size_t step = static_cast<size_t>(shape_.key_size) * sizeof(float), heads = static_cast<size_t>(shape_.heads);
    Attention task;
    task.queries = {reinterpret_cast<const char*>(queries_.data()), step * heads, step, step * heads * static_cast<size_t>(shape_.tokens)};
    task.keys = layout(keys_, shape_.key_size);
    task.values = layout(values_, shape_.value_size);
    task.type = shape_.type;
    task.out = out;
    task.mask_token_step = static_cast<size_t>(shape_.positions) * 2;
    task.mask_stream_step = task.mask_token_step * static_cast<size_t>(shape_.tokens);
    task.mask = shape_.mask ? reinterpret_cast<const char*>(mask_.data()) : nullptr;
    task.mask_streams = shape_.streams;
    task.sinks = shape_.sinks ? sinks_.data() : nullptr;
    task.tokens = shape_.tokens;
    task.heads = shape_.heads;
    task.kv_heads = shape_.kv_heads;
    task.streams = task.kv_streams = shape_.streams;
    task.positions = shape_.positions;
    task.key_size = shape_.key_size;
    task.value_size = shape_.value_size;
    task.scale = scale();
    task.softcap = shape_.softcap;
    task.max_bias = shape_.max_bias;
    return task;
  }

  float scale() const { return 1 / std::sqrt(static_cast<float>(shape_.key_size)); }

  // ALiBi's slopes, from its paper: powers of two of heads get 2^(-max_bias / heads)^(1, 2, ...), the rest those between.
  double slope(int head) const {
    if (shape_.max_bias == 0) return 1;
    int power = 1;
    while (power * 2 <= shape_.heads) power *= 2;
    if (head < power) return std::exp2(-shape_.max_bias * (head + 1) / power);
    return std::exp2(-shape_.max_bias / 2 * (2 * (head - power) + 1) / power);
  }

  void reference_row(int stream, int token, int head, std::vector<double>& out) const {
    const size_t kv_head = static_cast<size_t>(head / (shape_.heads / shape_.kv_heads));
    const auto key_size = static_cast<size_t>(shape_.key_size), value_size = static_cast<size_t>(shape_.value_size);
    const float* query = queries_.data() + static_cast<size_t>((stream * shape_.tokens + token) * shape_.heads + head) * key_size;
    std::vector<double> sum(value_size, 0);
    double total = shape_.sinks ? std::exp(static_cast<double>(sinks_[static_cast<size_t>(head)])) : 0;
    for (int position = 0; position < shape_.positions; ++position) {
      if (!visible(stream, token, position)) continue;
      const size_t vector = static_cast<size_t>(stream * shape_.positions + position) * static_cast<size_t>(shape_.kv_heads) + kv_head;
      double score = 0;
      for (size_t i = 0; i < key_size; ++i) score += query[i] * key_values_[vector * key_size + i];
      score *= static_cast<double>(scale());
      if (shape_.softcap != 0) score = shape_.softcap * std::tanh(score / shape_.softcap);
      if (shape_.mask) score += slope(head) * from_half(half(bias(token, position)));
      total += std::exp(score);
      for (size_t i = 0; i < value_size; ++i) sum[i] += std::exp(score) * value_values_[vector * value_size + i];
    }
    for (const double value : sum) out.push_back(total == 0 ? 0 : value / total);
  }

  Shape shape_;
  std::mt19937 random_;
  std::normal_distribution<float> normal_;
  std::vector<float> queries_, sinks_;
  std::vector<int> lengths_;
  std::vector<uint16_t> mask_;
  std::vector<char> keys_, values_;
  std::vector<double> key_values_, value_values_;
};

void expect_agreement(const Shape& shape, uint32_t seed) {
  Problem problem(shape, seed);
  const auto expected = problem.reference();
  for (const NamedSet& set : sets_that_run_here()) {
    for (const int workers : {1, 2, 3, 7}) {
      const auto found = problem.run(*set.kernels, workers);
      double worst = 0;
      for (size_t i = 0; i < found.size(); ++i) {
        const double difference = std::abs(static_cast<double>(found[i]) - expected[i]);
        worst = difference <= worst ? worst : difference;  // also takes what is not a number
      }
      EXPECT_LT(worst, 1e-5) << set.name << ", " << workers << " workers: tokens " << shape.tokens << ", heads " << shape.heads << "/"
                             << shape.kv_heads << ", streams " << shape.streams << ", positions " << shape.positions << ", sizes "
                             << shape.key_size << " and " << shape.value_size << ", type " << static_cast<int>(shape.type);
    }
  }
}

TEST(AttentionTest, OneTokenOfOneSequence) {
  for (const int positions : {1, 7, 64, 65, 200, 1'000}) expect_agreement({.heads = 9, .kv_heads = 3, .positions = positions}, 1);
}

TEST(AttentionTest, OneTokenOfSequencesOfUnlikeLengths) {
  expect_agreement({.heads = 9, .kv_heads = 3, .streams = 5, .positions = 700}, 2);
  expect_agreement({.heads = 4, .kv_heads = 4, .streams = 16, .positions = 100}, 3);
}

TEST(AttentionTest, PromptsWithACausalMask) {
  expect_agreement({.tokens = 200, .heads = 6, .kv_heads = 2, .positions = 256}, 4);
  expect_agreement({.tokens = 33, .heads = 8, .kv_heads = 1, .streams = 2, .positions = 300}, 5);
}

TEST(AttentionTest, EachSizeOfHead) {
  for (const int size : {32, 96, 128, 160, 256}) {
    expect_agreement({.heads = 4, .kv_heads = 2, .positions = 130, .key_size = size, .value_size = size}, 6);
    expect_agreement({.tokens = 20, .heads = 4, .kv_heads = 2, .positions = 130, .key_size = size, .value_size = 64}, 7);
  }
}

TEST(AttentionTest, EachTypeOfKeysAndValues) {
  for (const KvType type : {KvType::f16, KvType::bf16, KvType::f32, KvType::q8_0}) {
    expect_agreement({.heads = 6, .kv_heads = 2, .positions = 333, .type = type}, 8);
    expect_agreement({.tokens = 50, .heads = 6, .kv_heads = 2, .positions = 333, .type = type}, 9);
  }
}

TEST(AttentionTest, WindowsAlibiSoftcapAndSinks) {
  for (const int tokens : {1, 40}) {
    expect_agreement({.tokens = tokens, .heads = 4, .kv_heads = 2, .positions = 500, .window = 100}, 10);
    expect_agreement({.tokens = tokens, .heads = 12, .kv_heads = 12, .positions = 200, .max_bias = 8}, 11);
    expect_agreement({.tokens = tokens, .heads = 4, .kv_heads = 2, .positions = 200, .softcap = 5}, 12);
    expect_agreement({.tokens = tokens, .heads = 4, .kv_heads = 2, .positions = 200, .sinks = true}, 13);
    expect_agreement({.tokens = tokens, .heads = 4, .kv_heads = 2, .positions = 200, .mask = false}, 14);
  }
}

// With few workers an item has the heads of all groups, with many those of one.
TEST(AttentionTest, OneTokenIsTheSameToTheLastBitHoweverItsHeadsAreShared) {
  for (const KvType type : {KvType::f16, KvType::q8_0}) {
    for (const int streams : {1, 3}) {
      const Shape shape{.heads = 9, .kv_heads = 3, .streams = streams, .positions = 2'300, .type = type, .max_bias = 8};
      Problem problem(shape, 15);
      for (const NamedSet& set : sets_that_run_here()) {
        const auto alone = problem.run(*set.kernels, 1);
        for (const int workers : {2, 3, 4, 20}) EXPECT_EQ(problem.run(*set.kernels, workers), alone) << set.name << ", " << workers;
      }
    }
  }
  expect_agreement({.heads = 9, .kv_heads = 3, .streams = 2, .positions = 2'300, .softcap = 5, .sinks = true}, 16);
}

// To the last bit: a sequence gets the same tokens whoever computes beside it, and however its prompt was cut.
TEST(AttentionTest, ARowDoesNotDependOnWhatIsComputedBesideIt) {
  for (const int window : {0, 130}) {
    const Shape shape{.tokens = 30, .heads = 6, .kv_heads = 2, .streams = 3, .positions = 1'100, .window = window};
    Problem problem(shape, 17);
    for (const NamedSet& set : sets_that_run_here()) {
      const auto together = problem.run(*set.kernels, 1);
      for (const int workers : {2, 5}) EXPECT_EQ(problem.run(*set.kernels, workers), together) << set.name;
      for (const int token : {0, 13, 29}) {
        for (const int stream : {0, 1, 2}) {
          const auto row = static_cast<std::ptrdiff_t>((stream * shape.tokens + token) * shape.heads * shape.value_size);
          const std::vector<float> part(together.begin() + row, together.begin() + row + shape.heads * shape.value_size);
          EXPECT_EQ(problem.run_one(*set.kernels, stream, token), part) << set.name << " token " << token << " of " << stream;
        }
      }
    }
  }
}

TEST(AttentionTest, RandomShapes) {
  std::mt19937 random(15);
  const auto below = [&random](int end) { return static_cast<int>(random() % static_cast<uint32_t>(end)); };
  for (uint32_t i = 0; i < 25; ++i) {
    const int kv_heads = 1 + below(4);
    const Shape shape{.tokens = below(2) == 0 ? 1 + below(4) : 1 + below(60),
                      .heads = kv_heads * (1 + below(12)),
                      .kv_heads = kv_heads,
                      .streams = 1 + below(4),
                      .positions = 64 + below(200),
                      .key_size = 32 * (1 + below(4)),
                      .value_size = 32 * (1 + below(4)),
                      .type = static_cast<KvType>(below(4)),
                      .sinks = below(4) == 0,
                      .causal = below(4) != 0,
                      .window = below(4) == 0 ? 1 + below(100) : 0};
    expect_agreement(shape, 100 + i);
  }
}

TEST(AttentionTest, ATokenThatMayLookAtNothingGetsZeros) {
  std::vector<float> queries(3 * 2 * 64, 1), keys(10 * 64, 1), out(3 * 2 * 64, NAN);
  std::vector<uint16_t> mask(30, 0xfc00);
  Attention task;
  task.queries = {reinterpret_cast<const char*>(queries.data()), 512, 256, 1'536};
  task.keys = task.values = {reinterpret_cast<const char*>(keys.data()), 256, 256, 2'560};
  task.type = KvType::f32;
  task.mask = reinterpret_cast<const char*>(mask.data());
  task.mask_token_step = 20;
  task.mask_stream_step = 60;
  task.tokens = 3;
  task.heads = 2;
  task.kv_heads = task.streams = task.kv_streams = 1;
  task.positions = 10;
  task.key_size = task.value_size = 64;
  task.out = out.data();
  mask[25] = 0;  // the third token sees one position
  for (const NamedSet& set : sets_that_run_here()) {
    std::ranges::fill(out, NAN);
    set.kernels->attend(task, Worker{}, make_work(set.kernels->attention_work_bytes(task, 1)).get());
    for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], i < 256 ? 0 : 1) << set.name << " " << i;
  }
}

}  // namespace
}  // namespace realm::kernels
