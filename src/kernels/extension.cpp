#include "kernels/extension.h"

#include <ggml-cpu/traits.h>
#include <llama_cpu_variant.h>

#include <atomic>

#include "kernels/ggml_operation.h"
#include "kernels/kernel_set.h"

#if defined(__x86_64__)
extern "C" const realm::kernels::KernelSet realm_kernel_set_haswell;
#endif

namespace realm::kernels {
namespace {

struct NamedSet {
  std::string_view name;  // empty: none
  const KernelSet* kernels = nullptr;
};

// The set that runs wherever ggml's chosen one does.
NamedSet set_for([[maybe_unused]] std::string_view variant) {
#if defined(__x86_64__)
  for (const std::string_view one : {"haswell", "skylakex", "zen4", "sapphirerapids"}) {
    if (variant == one) return {"haswell", &realm_kernel_set_haswell};
  }
#endif
  return {};
}

std::atomic<bool> enabled{false};

const NamedSet& chosen_set() {
  static const NamedSet set = set_for(realm_chosen_cpu_variant().name);
  return set;
}

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
  bool work_size(int threads, const ggml_tensor* op, size_t& size) override {
    size = chosen_set().kernels->attention_work_bytes(*attention_of(op), threads) + work_alignment;
    return true;
  }

  bool compute_forward(ggml_compute_params* params, ggml_tensor* op) override {
    chosen_set().kernels->attend(*attention_of(op), worker_of(params), work_of(params));
    return true;
  }
};

class MultiplicationTraits final : public ggml::cpu::tensor_traits {
 public:
  bool work_size(int, const ggml_tensor* op, size_t& size) override {
    size = chosen_set().kernels->multiply_work_bytes(*multiplication_of(op)) + work_alignment;
    return true;
  }

  bool compute_forward(ggml_compute_params* params, ggml_tensor* op) override {
    chosen_set().kernels->multiply(*multiplication_of(op), worker_of(params), work_of(params));
    return true;
  }
};

ggml_backend_buffer_type* buffer_type();

size_t packed_bytes_of(const ggml_tensor* weights) {
  const auto type = weight_type_of(weights);
  return type ? chosen_set().kernels->packed_bytes(*type, weights->ne[1], weights->ne[0]) : 0;
}

bool is_packed(const ggml_tensor* tensor) {
  return tensor != nullptr && tensor->buffer != nullptr && ggml_backend_buffer_get_type(tensor->buffer) == buffer_type();
}

class Extension final : public ggml::cpu::extra_buffer_type {
 public:
  // llama.cpp asks this with an empty buffer where it chooses a place for weights, and later for those that are there.
  bool supports_op(ggml_backend_dev_t, const ggml_tensor* op) override {
    if (op->op != GGML_OP_MUL_MAT || !is_packed(op->src[0]) || packed_bytes_of(op->src[0]) == 0) return false;
    if (ggml_backend_buffer_get_size(op->src[0]->buffer) == 0 && !enabled) return false;
    const ggml_backend_buffer_t activations = op->src[1]->buffer;
    return (activations == nullptr || ggml_backend_buffer_is_host(activations)) && multiplication_of(op);
  }

  ggml::cpu::tensor_traits* get_tensor_traits(const ggml_tensor* op) override {
    if (op->op == GGML_OP_MUL_MAT && is_packed(op->src[0])) return &multiplication_;
    if (op->op == GGML_OP_FLASH_ATTN_EXT && enabled.load(std::memory_order_relaxed) && attention_of(op)) return &attention_;
    return nullptr;
  }

 private:
  AttentionTraits attention_;
  MultiplicationTraits multiplication_;
};

void set_packed(ggml_backend_buffer_t, ggml_tensor* tensor, const void* data, size_t offset, size_t size) {
  GGML_ASSERT(offset == 0 && size == ggml_nbytes(tensor) && tensor->view_src == nullptr);
  chosen_set().kernels->pack_weights(*weight_type_of(tensor), static_cast<int>(tensor->ne[1]), static_cast<int>(tensor->ne[0]),
                                     static_cast<const char*>(data), static_cast<char*>(tensor->data));
}

// Memory like ggml's own for the CPU, but what is put there is packed.
ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t bytes) {
  ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), bytes);
  if (buffer == nullptr) return nullptr;
  buffer->buft = type;
  buffer->iface.set_tensor = set_packed;
  buffer->iface.get_tensor = nullptr;
  buffer->iface.cpy_tensor = nullptr;
  return buffer;
}

ggml_backend_buffer_type* buffer_type() {
  static Extension extension;
  static ggml_backend_buffer_type type = [] {
    ggml_backend_buffer_type made{};
    made.iface.get_name = [](ggml_backend_buffer_type_t) { return "Realm"; };
    made.iface.alloc_buffer = allocate;
    made.iface.get_alignment = [](ggml_backend_buffer_type_t) { return work_alignment; };
    made.iface.get_alloc_size = [](ggml_backend_buffer_type_t, const ggml_tensor* tensor) { return packed_bytes_of(tensor); };
    made.device = ggml_backend_reg_dev_get(realm_chosen_cpu_variant().registry(), 0);
    made.context = &extension;
    return made;
  }();
  return &type;
}

}  // namespace

void install() {
  if (chosen_set().kernels == nullptr) return;
  // Behind ggml's own layouts: weights that have one, such as for AMX, keep it.
  realm_chosen_cpu_variant().extra_buffer_types().push_back(buffer_type());
  enabled = true;
}

void use(bool own) { enabled = own && chosen_set().kernels != nullptr; }

std::optional<size_t> packed_offset(const ggml_tensor* weights, int64_t row) {
  if (!is_packed(weights) || row % packed_rows_step != 0) return {};
  return row == 0 ? 0 : chosen_set().kernels->packed_bytes(*weight_type_of(weights), row, weights->ne[0]);
}

std::string_view in_use() { return enabled ? chosen_set().name : std::string_view(); }

}  // namespace realm::kernels
