// What one core can multiply, and what our kernels make of it: no batch of a prompt can be faster than its products.
#include <immintrin.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/clock.h"
#include "bench.h"
#include "engine/backend.h"
#include "kernels/known_sets.h"

namespace realm::bench {
namespace {

constexpr int rounds = 200'000;

// Billions of products a second in the best of several runs of `f`, which makes `products` of them.
template <typename F>
double best_rate(const Setup& setup, double products, F f) {
  double best = 0;
  for (int i = 0; i < (setup.quick ? 10 : 50); ++i) {
    const int64_t began_ns = monotonic_ns();
    f();
    best = std::max(best, products / static_cast<double>(monotonic_ns() - began_ns));
  }
  return best;
}

#if defined(__x86_64__)
// Each instruction of a round has its own sum, of which there are enough to wait for none. The empty assembly, which has no instructions,
// keeps products from being left out because they are known.

// 32 bytes with 32 bytes into sums of 16 bits; these are added to others, which a kernel cannot do without.
__attribute__((target("avx2"))) void multiply_in_16_bits() {
  constexpr int sums = 6;
  __m256i sum[sums]{}, weights = _mm256_set1_epi8(3), activations = _mm256_set1_epi8(-5);
  for (int round = 0; round < rounds; ++round) {
#pragma GCC unroll 6
    for (int i = 0; i < sums; ++i) {
      __asm__ volatile("" : "+x"(weights));
      sum[i] = _mm256_add_epi16(sum[i], _mm256_maddubs_epi16(weights, activations));
      __asm__ volatile("" : "+x"(sum[i]));
    }
  }
}
constexpr double products_in_16_bits = 6.0 * 32 * rounds;

// 64 bytes with 64 bytes into sums of 32 bits.
__attribute__((target("avx512f,avx512vnni"))) void multiply_with_vnni() {
  constexpr int sums = 12;
  __m512i sum[sums]{}, weights = _mm512_set1_epi8(3), activations = _mm512_set1_epi8(-5);
  for (int round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < sums; ++i) sum[i] = _mm512_dpbusd_epi32(sum[i], weights, activations);
    __asm__ volatile("" : "+v"(weights), "+v"(activations));
#pragma GCC unroll 12
    for (int i = 0; i < sums; ++i) __asm__ volatile("" : "+v"(sum[i]));
  }
}
constexpr double products_with_vnni = 12.0 * 64 * rounds;

// 8 floats with 8 floats; 16 at once take twice as long or have half as many units.
__attribute__((target("avx2,fma"))) void multiply_floats() {
  constexpr int sums = 10;
  __m256 sum[sums]{}, weights = _mm256_set1_ps(1), activations = _mm256_set1_ps(0.5f);
  for (int round = 0; round < rounds; ++round) {
#pragma GCC unroll 10
    for (int i = 0; i < sums; ++i) sum[i] = _mm256_fmadd_ps(weights, activations, sum[i]);
    __asm__ volatile("" : "+x"(weights), "+x"(activations));
#pragma GCC unroll 10
    for (int i = 0; i < sums; ++i) __asm__ volatile("" : "+x"(sum[i]));
  }
}
constexpr double products_of_floats = 10.0 * 8 * rounds;
#endif

struct Free {
  void operator()(char* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<char[], Free>;

Memory zeros(size_t bytes) {
  Memory memory(static_cast<char*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
  std::memset(memory.get(), 0, bytes);
  return memory;
}

// A product as SmolLM2 has it, with as many columns as a prompt of 512 tokens, by one worker.
double rate_of(const Setup& setup, const kernels::KernelSet& set, kernels::WeightType type) {
  constexpr int rows = 1'536, size = 576, columns = 512;
  const Memory weights = zeros(set.packed_bytes(type, rows, size)), activations = zeros(size_t{columns} * size * sizeof(float)),
               out = zeros(size_t{columns} * rows * sizeof(float));
  const kernels::Multiplication task{.type = type,
                                     .weights = weights.get(),
                                     .rows = rows,
                                     .size = size,
                                     .activations = {activations.get(), size * sizeof(float), 0, 0},
                                     .inner_columns = columns,
                                     .columns = columns,
                                     .out = reinterpret_cast<float*>(out.get()),
                                     .out_step = rows * sizeof(float)};
  const Memory work = zeros(set.multiply_work_bytes(task));
  return best_rate(setup, 1.0 * rows * size * columns, [&] { set.multiply(task, kernels::Worker{}, work.get()); });
}

}  // namespace

boost::json::object multiplication_peak(const Setup& setup) {
  engine::start_backends();
  boost::json::object figures{{"unit", "billions of products a second of one core"}};
#if defined(__x86_64__)
  const auto sets = kernels::known_sets();
  const auto knows = [&](std::string_view name) { return std::ranges::any_of(sets, [&](const auto& set) { return set.name == name; }); };
  if (sets.empty()) return figures;
  double integers = best_rate(setup, products_in_16_bits, multiply_in_16_bits);
  const double floats = best_rate(setup, products_of_floats, multiply_floats);
  figures["8 bits, AVX2"] = integers;
  figures["floats, AVX2"] = floats;
  if (knows("icelake")) figures["8 bits, VNNI"] = integers = std::max(integers, best_rate(setup, products_with_vnni, multiply_with_vnni));
  constexpr std::pair<const char*, kernels::WeightType> types[] = {{"Q4_0", kernels::WeightType::q4_0}, {"Q4_1", kernels::WeightType::q4_1},
                                                                   {"Q5_0", kernels::WeightType::q5_0}, {"Q5_1", kernels::WeightType::q5_1},
                                                                   {"Q8_0", kernels::WeightType::q8_0}, {"F16", kernels::WeightType::f16}};
  boost::json::array rows;
  for (const auto& [name, type] : types) {
    const double peak = type == kernels::WeightType::f16 ? floats : integers;
    boost::json::object row{{"weights", name}};
    for (const kernels::NamedSet& set : sets) {
      const double rate = rate_of(setup, *set.kernels, type);
      row[std::string(set.name)] = rate;
      row[std::string(set.name) + " / peak"] = rate / peak;
    }
    rows.push_back(std::move(row));
  }
  figures["rows"] = std::move(rows);
#endif
  return figures;
}

}  // namespace realm::bench
