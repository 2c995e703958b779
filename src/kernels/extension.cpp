#include "kernels/extension.h"

#include <ggml-cpu/traits.h>
#include <llama_cpu_variant.h>

#include <atomic>
#include <deque>

#include "kernels/ggml_operation.h"
#include "kernels/known_sets.h"

namespace realm::kernels {
namespace {

constexpr size_t work_alignment = 64;

Worker worker_of(const ggml_compute_params* params) {
  return {.index = params->ith,
          .count = params->nth,
          .barrier = [](void* pool) { realm_chosen_cpu_variant().barrier(static_cast<ggml_threadpool*>(pool)); },
          .pool = params->threadpool};
}

void* work_of(const ggml_compute_params* params) {
  const auto address = reinterpret_cast<uintptr_t>(params->wdata);
  return reinterpret_cast<void*>((address + work_alignment - 1) / work_alignment * work_alignment);
}

class AttentionTraits final : public ggml::cpu::tensor_traits {
 public:
  explicit AttentionTraits(const KernelSet& kernels) : kernels_(kernels) {}

  bool work_size(int threads, const ggml_tensor* op, size_t& size) override {
    size = kernels_.attention_work_bytes(*attention_of(op), threads) + work_alignment;
    return true;
  }

  bool compute_forward(ggml_compute_params* params, ggml_tensor* op) override {
    kernels_.attend(*attention_of(op), worker_of(params), work_of(params));
    return true;
  }

 private:
  const KernelSet& kernels_;
};

class MultiplicationTraits final : public ggml::cpu::tensor_traits {
 public:
  explicit MultiplicationTraits(const KernelSet& kernels) : kernels_(kernels) {}

  bool work_size(int, const ggml_tensor* op, size_t& size) override {
    size = kernels_.multiply_work_bytes(*multiplication_of(op)) + work_alignment;
    return true;
  }

  bool compute_forward(ggml_compute_params* params, ggml_tensor* op) override {
    kernels_.multiply(*multiplication_of(op), worker_of(params), work_of(params));
    return true;
  }

 private:
  const KernelSet& kernels_;
};

class SetExtension;
std::atomic<const SetExtension*> used{nullptr};

// One set of kernels, and the kind of memory in which its packed weights lie. There until the process ends.
class SetExtension final : public ggml::cpu::extra_buffer_type {
 public:
  explicit SetExtension(const NamedSet& set) : name_(set.name), kernels_(*set.kernels), attention_(kernels_), products_(kernels_) {
    type_.iface.get_name = [](ggml_backend_buffer_type_t) { return "Realm"; };
    type_.iface.alloc_buffer = allocate;
    type_.iface.get_alignment = [](ggml_backend_buffer_type_t) { return work_alignment; };
    type_.iface.get_alloc_size = [](ggml_backend_buffer_type_t type, const ggml_tensor* tensor) { return of(type).packed_bytes(tensor); };
    type_.device = ggml_backend_reg_dev_get(realm_chosen_cpu_variant().registry(), 0);
    type_.context = static_cast<ggml::cpu::extra_buffer_type*>(this);
  }
  SetExtension(const SetExtension&) = delete;
  SetExtension& operator=(const SetExtension&) = delete;

  std::string_view name() const { return name_; }
  ggml_backend_buffer_type* buffer_type() { return &type_; }

  std::optional<size_t> packed_offset(const ggml_tensor* weights, int64_t row) const {
    if (!is_packed(weights) || row % packed_rows_step != 0) return {};
    return row == 0 ? 0 : kernels_.packed_bytes(*weight_type_of(weights), row, weights->ne[0]);
  }

  // llama.cpp asks this with an empty buffer where it chooses a place for weights, and later for those that are there.
  bool supports_op(ggml_backend_dev_t, const ggml_tensor* op) override {
    if (op->op != GGML_OP_MUL_MAT || !is_packed(op->src[0]) || packed_bytes(op->src[0]) == 0) return false;
    if (ggml_backend_buffer_get_size(op->src[0]->buffer) == 0 && used != this) return false;
    const ggml_backend_buffer_t activations = op->src[1]->buffer;
    return (activations == nullptr || ggml_backend_buffer_is_host(activations)) && multiplication_of(op);
  }

  ggml::cpu::tensor_traits* get_tensor_traits(const ggml_tensor* op) override {
    if (op->op == GGML_OP_MUL_MAT && is_packed(op->src[0])) return &products_;
    if (op->op == GGML_OP_FLASH_ATTN_EXT && used.load(std::memory_order_relaxed) == this && attention_of(op)) return &attention_;
    return nullptr;
  }

 private:
  static SetExtension& of(ggml_backend_buffer_type_t type) {
    return *static_cast<SetExtension*>(static_cast<ggml::cpu::extra_buffer_type*>(type->context));
  }

  size_t packed_bytes(const ggml_tensor* weights) const {
    const auto type = weight_type_of(weights);
    return type ? kernels_.packed_bytes(*type, weights->ne[1], weights->ne[0]) : 0;
  }

  bool is_packed(const ggml_tensor* tensor) const {
    return tensor != nullptr && tensor->buffer != nullptr && ggml_backend_buffer_get_type(tensor->buffer) == &type_;
  }

  static void set_packed(ggml_backend_buffer_t buffer, ggml_tensor* tensor, const void* data, size_t offset, size_t size) {
    GGML_ASSERT(offset == 0 && size == ggml_nbytes(tensor) && tensor->view_src == nullptr);
    of(buffer->buft)
        .kernels_.pack_weights(*weight_type_of(tensor), static_cast<int>(tensor->ne[1]), static_cast<int>(tensor->ne[0]),
                               static_cast<const char*>(data), static_cast<char*>(tensor->data));
  }

  // Memory like ggml's own for the CPU, but what is put there is packed.
  static ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t bytes) {
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), bytes);
    if (buffer == nullptr) return nullptr;
    buffer->buft = type;
    buffer->iface.set_tensor = set_packed;
    buffer->iface.get_tensor = nullptr;
    buffer->iface.cpy_tensor = nullptr;
    return buffer;
  }

  std::string_view name_;
  const KernelSet& kernels_;
  AttentionTraits attention_;
  MultiplicationTraits products_;
  ggml_backend_buffer_type type_{};
};

// Of known_sets(), in its order.
std::deque<SetExtension>& extensions() {
  static std::deque<SetExtension> all(known_sets().begin(), known_sets().end());
  return all;
}

}  // namespace

void install() {
  // Weights go to the first that takes them: ggml's own layouts are before ours, but where ours have AMX those are before all.
  auto& types = realm_chosen_cpu_variant().extra_buffer_types();
  for (SetExtension& set : extensions()) types.insert(set.name() == "sapphirerapids" ? types.begin() : types.end(), set.buffer_type());
  use(true);
}

void use(bool own) { used = own && !extensions().empty() ? &extensions().front() : nullptr; }

void use_set(std::string_view name) {
  for (const SetExtension& set : extensions()) {
    if (set.name() == name) used = &set;
  }
}

std::string_view in_use() {
  const SetExtension* set = used;
  return set == nullptr ? std::string_view() : set->name();
}

std::optional<size_t> packed_offset(const ggml_tensor* weights, int64_t row) {
  for (const SetExtension& set : extensions()) {
    if (const auto offset = set.packed_offset(weights, row)) return offset;
  }
  return {};
}

}  // namespace realm::kernels
