#include "engine/products.h"

#include <ggml-cpu.h>
#include <ggml.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/backend.h"
#include "engine/cpu_function.h"
#include "kernels/extension.h"

namespace realm::engine {
namespace {

constexpr uint32_t left_rows_max = 64;           // of a slice
constexpr uint32_t slice_values_max = 1u << 18;  // of its output, which each thread keeps the room for

// Where a thread computes its slices: a back end of one thread, which is the caller.
class OneThread {
 public:
  ~OneThread() {
    if (backend_ != nullptr) ggml_backend_free(backend_);
    if (threads_ != nullptr) cpu_function<decltype(ggml_threadpool_free)>("ggml_threadpool_free")(threads_);
  }
  bool start() {
    if (backend_ != nullptr) return true;
    start_backends();
    auto* threadpool_new = cpu_function<decltype(ggml_threadpool_new)>("ggml_threadpool_new");
    auto* set_threadpool = cpu_function<decltype(ggml_backend_cpu_set_threadpool)>("ggml_backend_cpu_set_threadpool");
    auto* set_n_threads = cpu_function<decltype(ggml_backend_cpu_set_n_threads)>("ggml_backend_set_n_threads");
    if (threadpool_new == nullptr || set_threadpool == nullptr || set_n_threads == nullptr) return false;
    ggml_threadpool_params params = ggml_threadpool_params_default(1);
    if (threads_ == nullptr) threads_ = threadpool_new(&params);
    if (threads_ == nullptr) return false;
    backend_ = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr);
    if (backend_ == nullptr) return false;
    set_threadpool(backend_, threads_);
    set_n_threads(backend_, 1);
    graph_memory_.resize(8 * ggml_tensor_overhead() + ggml_graph_overhead_custom(graph_nodes_max, false));
    return true;
  }
  // Computes the one operation that `build` makes in a context without memory for values.
  template <class Build>
  bool compute(const Build& build) {
    ggml_context* context = ggml_init({.mem_size = graph_memory_.size(), .mem_buffer = graph_memory_.data(), .no_alloc = true});
    if (context == nullptr) return false;
    const std::unique_ptr<ggml_context, decltype(&ggml_free)> owner(context, &ggml_free);
    ggml_cgraph* graph = ggml_new_graph_custom(context, graph_nodes_max, false);
    ggml_build_forward_expand(graph, build(context));
    return ggml_backend_graph_compute(backend_, graph) == GGML_STATUS_SUCCESS;
  }
  std::vector<float>& block() { return block_; }

 private:
  static constexpr size_t graph_nodes_max = 4;
  ggml_backend_t backend_ = nullptr;
  ggml_threadpool* threads_ = nullptr;
  std::vector<char> graph_memory_;
  std::vector<float> block_;  // of the output, when it is not whole rows
};

OneThread& this_thread() {
  thread_local OneThread one;
  return one;
}

ggml_tensor* matrix(ggml_context* context, const float* values, int64_t columns, int64_t rows) {
  ggml_tensor* made = ggml_new_tensor_2d(context, GGML_TYPE_F32, columns, rows);
  made->data = const_cast<float*>(values);
  return made;
}

// The weights' rows from `row` on, without a copy; nothing when only the kernels know where a row begins.
std::optional<size_t> offset_of(const ggml_tensor* weights, int64_t row) {
  if (auto packed = kernels::packed_offset(weights, row)) return packed;
  const std::string_view layout = ggml_backend_buffer_name(weights->buffer);
  const bool rows_in_order = ggml_backend_buffer_is_host(weights->buffer) || layout == "CPU_REPACK";  // that in groups of at most 16
  return rows_in_order ? std::optional(static_cast<size_t>(row) * weights->nb[1]) : std::nullopt;
}

ggml_tensor rows_of(const ggml_tensor* weights, int64_t first, int64_t count) {
  ggml_tensor part = *weights;
  part.data = static_cast<char*>(part.data) + offset_of(weights, first).value_or(0);
  part.ne[1] = count;
  part.nb[2] = part.nb[3] = part.nb[1] * static_cast<size_t>(count);
  return part;
}

template <class T, class U>
bool overlap(std::span<T> a, std::span<U> b) {
  const std::less<const void*> before;
  return before(a.data(), b.data() + b.size()) && before(b.data(), a.data() + a.size());
}

bool is_finite(const float* values, uint32_t count) {
  constexpr uint32_t infinity = 0x7f800000;
  uint32_t largest = 0;
  for (uint32_t i = 0; i < count; ++i) largest = std::max(largest, std::bit_cast<uint32_t>(values[i]) & 0x7fffffff);
  return largest < infinity;
}

bool is_side(uint64_t count) { return count >= 1 && count <= product_side_max; }

Result<void> check(std::span<const float> left, uint64_t right_count, std::span<float> out, uint64_t m, uint64_t k, uint64_t n) {
  if (!is_side(m) || !is_side(k) || !is_side(n)) return fail(ErrorCode::invalid_argument, "a side of a product is 0 or too large");
  if (left.size() != m * k || right_count != k * n || out.size() != m * n)
    return fail(ErrorCode::invalid_argument, "what is multiplied has not the sizes that were stated");
  if (overlap(left, out)) return fail(ErrorCode::invalid_argument, "the output overlaps an input");
  if (m * k > product_multiplications_max / n) return fail(ErrorCode::resource_exhausted, "a product takes too many multiplications");
  return {};
}

}  // namespace

Result<Product> Product::of(std::span<const float> left, std::span<const float> right, std::span<float> out, uint32_t m, uint32_t k,
                            uint32_t n, bool transposed) {
  if (auto valid = check(left, right.size(), out, m, k, n); !valid) return fail(std::move(valid));
  if (overlap(right, out)) return fail(ErrorCode::invalid_argument, "the output overlaps an input");
  Product product;
  product.kind_ = transposed ? Right::rows : Right::columns;
  product.right_ = right.data();
  product.set(left.data(), out.data(), m, k, n);
  return product;
}

Result<Product> Product::of(std::span<const float> left, const Tensor& right, std::span<float> out, uint32_t rows) {
  if (!right.products) return fail(ErrorCode::unsupported, "the tensor is no matrix in the CPU's memory");
  const uint64_t right_count = uint64_t{right.columns} * right.rows;
  if (auto valid = check(left, right_count, out, rows, right.columns, right.rows); !valid) return fail(std::move(valid));
  Product product;
  product.kind_ = Right::tensor;
  product.tensor_ = right;
  product.set(left.data(), out.data(), rows, right.columns, right.rows);
  return product;
}

void Product::set(const float* left, float* out, uint32_t m, uint32_t k, uint32_t n) {
  left_ = left;
  out_ = out;
  m_ = m;
  k_ = k;
  n_ = n;
  const bool divisible = kind_ != Right::tensor || offset_of(tensor_.native, slice_columns_step).has_value();
  const uint64_t columns_min = divisible ? std::min(n, slice_columns_step) : n;
  const uint64_t rows = slice_multiplications_max / (k * columns_min);
  slice_rows_ = static_cast<uint32_t>(std::clamp<uint64_t>(rows, 1, std::min(m, left_rows_max)));
  const uint64_t fit = std::min(slice_multiplications_max / k, uint64_t{slice_values_max}) / slice_rows_;
  const uint64_t columns = fit / slice_columns_step * slice_columns_step;
  slice_columns_ = static_cast<uint32_t>(std::clamp<uint64_t>(columns, columns_min, n));
}

Result<bool> Product::advance() {
  const Slice slice{row_, std::min(slice_rows_, m_ - row_), column_, std::min(slice_columns_, n_ - column_)};
  if (auto computed = compute(slice); !computed) return fail(std::move(computed));
  column_ += slice.columns;
  if (column_ == n_) {
    column_ = 0;
    row_ += slice.rows;
  }
  return row_ < m_;
}

Result<void> Product::compute(const Slice& slice) const {
  OneThread& thread = this_thread();
  if (!thread.start()) return fail(ErrorCode::resource_exhausted, "no memory to compute in: " + take_last_native_error());
  float* const place = out_ + size_t{slice.row} * n_ + slice.column;
  const bool whole_rows = slice.columns == n_ || slice.rows == 1;
  if (!whole_rows) thread.block().resize(std::max(thread.block().size(), size_t{slice.rows} * slice.columns));
  float* const to = whole_rows ? place : thread.block().data();
  const float* const left = left_ + size_t{slice.row} * k_;
  ggml_tensor part{};
  const bool done = thread.compute([&](ggml_context* context) {
    ggml_tensor* rows = matrix(context, left, k_, slice.rows);
    ggml_tensor* made = nullptr;
    if (kind_ == Right::columns) {
      ggml_tensor* right = matrix(context, right_ + slice.column, slice.columns, k_);
      right->nb[1] = size_t{n_} * sizeof(float);
      right->nb[2] = right->nb[3] = right->nb[1] * k_;
      made = ggml_out_prod(context, right, ggml_transpose(context, rows));
    } else if (kind_ == Right::rows) {
      made = ggml_mul_mat(context, matrix(context, right_ + size_t{slice.column} * k_, k_, slice.columns), rows);
    } else {
      part = rows_of(tensor_.native, slice.column, slice.columns);
      made = ggml_mul_mat(context, &part, rows);
    }
    made->data = to;
    return made;
  });
  if (!done) return fail(ErrorCode::resource_exhausted, "no memory to compute in: " + take_last_native_error());
  for (uint32_t i = 0; i < slice.rows; ++i) {
    if (!whole_rows) std::copy_n(to + size_t{i} * slice.columns, slice.columns, place + size_t{i} * n_);
    // Activations are rounded to whole numbers: what is no number would become one.
    if (kind_ == Right::tensor && !is_finite(left + size_t{i} * k_, k_))
      std::fill_n(place + size_t{i} * n_, slice.columns, std::numeric_limits<float>::quiet_NaN());
  }
  return {};
}

}  // namespace realm::engine
