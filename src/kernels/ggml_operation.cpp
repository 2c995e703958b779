#include "kernels/ggml_operation.h"

#include <ggml.h>

#include <cstring>

namespace realm::kernels {
namespace {

constexpr int64_t count_max = 1 << 24;

std::optional<KvType> kv_type(ggml_type type) {
  switch (type) {
    case GGML_TYPE_F16:
      return KvType::f16;
    case GGML_TYPE_BF16:
      return KvType::bf16;
    case GGML_TYPE_F32:
      return KvType::f32;
    case GGML_TYPE_Q8_0:
      return KvType::q8_0;
    default:
      return {};
  }
}

bool is_size(int64_t size) { return size > 0 && size <= attention_size_max && size % attention_size_step == 0; }

bool divides(int64_t divisor, int64_t number) { return divisor > 0 && number % divisor == 0; }

bool has_shape(const ggml_tensor* q, const ggml_tensor* k, const ggml_tensor* v) {
  return is_size(k->ne[0]) && is_size(v->ne[0]) && q->ne[0] == k->ne[0] && k->ne[1] == v->ne[1] && k->ne[2] == v->ne[2] &&
         k->ne[3] == v->ne[3] && divides(k->ne[2], q->ne[2]) && divides(k->ne[3], q->ne[3]) && q->ne[1] > 0 && q->ne[1] < count_max &&
         k->ne[1] < count_max && q->ne[2] * q->ne[3] < count_max;
}

Vectors vectors_of(const ggml_tensor* tensor) {
  return {static_cast<const char*>(tensor->data), tensor->nb[1], tensor->nb[2], tensor->nb[3]};
}

}  // namespace

std::optional<Attention> attention_of(const ggml_tensor* op) {
  const ggml_tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3], *sinks = op->src[4];
  const auto type = kv_type(k->type);
  if (!type || v->type != k->type || q->type != GGML_TYPE_F32 || op->type != GGML_TYPE_F32 || !has_shape(q, k, v)) return {};
  if (q->nb[0] != sizeof(float) || k->nb[0] != ggml_type_size(k->type) || v->nb[0] != ggml_type_size(v->type)) return {};
  if (!ggml_is_contiguous(op) || (sinks != nullptr && sinks->type != GGML_TYPE_F32)) return {};
  Attention task{.queries = vectors_of(q), .keys = vectors_of(k), .values = vectors_of(v), .type = *type};
  task.out = static_cast<float*>(op->data);
  if (mask != nullptr) {
    if (mask->type != GGML_TYPE_F16 || mask->nb[0] != sizeof(ggml_fp16_t) || mask->ne[0] < k->ne[1] || mask->ne[1] < q->ne[1] ||
        mask->ne[2] != 1) {
      return {};
    }
    task.mask = static_cast<const char*>(mask->data);
    task.mask_token_step = mask->nb[1];
    task.mask_stream_step = mask->nb[3];
    task.mask_streams = static_cast<int>(mask->ne[3]);
  }
  task.sinks = sinks == nullptr ? nullptr : static_cast<const float*>(sinks->data);
  task.tokens = static_cast<int>(q->ne[1]);
  task.heads = static_cast<int>(q->ne[2]);
  task.kv_heads = static_cast<int>(k->ne[2]);
  task.streams = static_cast<int>(q->ne[3]);
  task.kv_streams = static_cast<int>(k->ne[3]);
  task.positions = static_cast<int>(k->ne[1]);
  task.key_size = static_cast<int>(k->ne[0]);
  task.value_size = static_cast<int>(v->ne[0]);
  std::memcpy(&task.scale, op->op_params, sizeof(float));
  std::memcpy(&task.max_bias, op->op_params + 1, sizeof(float));
  std::memcpy(&task.softcap, op->op_params + 2, sizeof(float));
  return task;
}

std::optional<WeightType> weight_type_of(const ggml_tensor* weights) {
  if (weights->view_src != nullptr || ggml_n_dims(weights) > 2 || !ggml_is_contiguous(weights) || weights->ne[0] >= count_max ||
      weights->ne[1] >= count_max)
    return {};
  switch (weights->type) {
    case GGML_TYPE_Q4_1:
      return WeightType::q4_1;
    case GGML_TYPE_Q5_0:
      return WeightType::q5_0;
    case GGML_TYPE_Q5_1:
      return WeightType::q5_1;
    case GGML_TYPE_Q8_0:
      return WeightType::q8_0;
    case GGML_TYPE_Q4_K:
      return WeightType::q4_k;
    case GGML_TYPE_Q5_K:
      return WeightType::q5_k;
    case GGML_TYPE_Q6_K:
      return WeightType::q6_k;
    case GGML_TYPE_F16:
      return WeightType::f16;
    default:
      return {};
  }
}

std::optional<Multiplication> multiplication_of(const ggml_tensor* op) {
  const ggml_tensor *weights = op->src[0], *activations = op->src[1];
  const auto type = weight_type_of(weights);
  if (op->op != GGML_OP_MUL_MAT || !type || op->type != GGML_TYPE_F32 || activations->type != GGML_TYPE_F32) return {};
  if (!ggml_is_contiguous(op) || activations->nb[0] != sizeof(float) || ggml_nrows(activations) >= count_max) return {};
  return Multiplication{.type = *type,
                        .weights = static_cast<const char*>(weights->data),
                        .rows = static_cast<int>(weights->ne[1]),
                        .size = static_cast<int>(weights->ne[0]),
                        .activations = vectors_of(activations),
                        .inner_columns = static_cast<int>(activations->ne[1]),
                        .middle_columns = static_cast<int>(activations->ne[2]),
                        .columns = static_cast<int>(ggml_nrows(activations)),
                        .out = static_cast<float*>(op->data),
                        .out_step = op->nb[1]};
}

}  // namespace realm::kernels
