// A Llama that the program computes itself: norms, rotary positions, attention over its own keys and values, and the gates, in WASM SIMD.
// Only the large products are the host's, on the quantised weights that its own batch uses. Continues a text with the likeliest tokens;
// or compares its logits with the host's own over a text of at most 256 tokens.
//
//   {"prompt": "...", "max_tokens": 64}    the text, as it comes
//   {"compare": "..."}                     {"positions": 99, "same_top": 95, "ties": 4, "gap_max": 0.1, "kl": 0.004}
//
// Of the positions where another token is on top, `ties` are those where the host's logits of the two are less than 0.25 apart; gap_max is
// the largest such distance. Both sides round activations to 8 bits, and a last bit that differs before that is a step afterwards.
#include <algorithm>
#include <cmath>

#include "realm_json.hpp"
#include "realm_simd.hpp"
#include "realm_tensor.hpp"

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

namespace {

using Values = std::vector<float>;
using realm::Lanes;

constexpr uint32_t slice_tokens_max = 32;  // of a prompt, computed together
constexpr uint32_t compared_tokens_max = 256;
constexpr float tie = 0.25f;

// The likeliest token of a row of logits.
int32_t top_of(const float* logits, uint32_t count) { return static_cast<int32_t>(std::max_element(logits, logits + count) - logits); }

// To eleven bits, as the host's cache keeps keys and values in halves.
float half(float value) {
  const float scaled = value * 8193.0f;
  return scaled - (scaled - value);
}

struct Layer {
  Values attention_norm, gate_norm;
  realm::Tensor query, key, value, output, gate, up, down;
  Values keys{}, values{};  // of all tokens so far
};

class Llama {
 public:
  explicit Llama(const realm::Model& model)
      : name_(model.text(REALM_TEXT_ARCHITECTURE)), model_(model), embedding_(model, "token_embd.weight"), head_(model, "output.weight") {
    if (name_ != "llama") realm::fail(REALM_FAIL_BAD_REQUEST, "model: its architecture is " + name_ + ", this program computes llama");
    width_ = embedding_.info().columns;
    heads_ = static_cast<uint32_t>(number("attention.head_count", 0));
    kv_heads_ = static_cast<uint32_t>(number("attention.head_count_kv", heads_));
    head_size_ = width_ / std::max(heads_, 1u);
    epsilon_ = number("attention.layer_norm_rms_epsilon", 1e-5f);
    if (heads_ == 0 || kv_heads_ == 0 || heads_ % kv_heads_ != 0 || width_ % (4 * heads_) != 0)
      realm::fail(REALM_FAIL_BAD_REQUEST, "model: heads that do not fit");
    rotation_ = std::pow(number("rope.freq_base", 10'000), -2.0f / static_cast<float>(head_size_));
    norm_ = vector_of("output_norm");
    for (uint32_t i = 0; i < static_cast<uint32_t>(number("block_count", 0)); ++i) {
      const std::string block = "blk." + std::to_string(i) + ".";
      const auto matrix = [&](const char* part) { return realm::Tensor(model_, block + part + ".weight"); };
      layers_.push_back({vector_of(block + "attn_norm"), vector_of(block + "ffn_norm"), matrix("attn_q"), matrix("attn_k"),
                         matrix("attn_v"), matrix("attn_output"), matrix("ffn_gate"), matrix("ffn_up"), matrix("ffn_down")});
    }
  }

  uint32_t vocabulary() const { return head_.info().rows; }

  // The logits after each of the next tokens, or after the last one alone.
  Values logits(const int32_t* tokens, uint32_t count, bool of_each) {
    Values stream(size_t{count} * width_);
    for (uint32_t i = 0; i < count; ++i) embedding_.read(static_cast<uint32_t>(tokens[i]), &stream[size_t{i} * width_]);
    for (Layer& layer : layers_) {
      add(stream, layer.output.times(attend(layer, normed(stream, layer.attention_norm))));
      const Values inner = normed(stream, layer.gate_norm);
      Values gate = layer.gate.times(inner);
      const Values up = layer.up.times(inner);
      for (size_t i = 0; i < gate.size(); i += 4) {
        const Lanes value = realm::load(&gate[i]);
        realm::store(&gate[i], value * realm::load(&up[i]) / (1.0f + realm::exponential(-value)));
      }
      add(stream, layer.down.times(gate));
    }
    length_ += count;
    if (!of_each) stream.erase(stream.begin(), stream.end() - width_);
    return head_.times(normed(stream, norm_));
  }
  // The same of any number of tokens, for the last one.
  Values read(const std::vector<int32_t>& tokens) {
    Values last;
    for (size_t at = 0; at < tokens.size(); at += slice_tokens_max) {
      last = logits(&tokens[at], static_cast<uint32_t>(std::min<size_t>(tokens.size() - at, slice_tokens_max)), false);
    }
    return last;
  }

 private:
  float number(const char* key, float otherwise) const {
    const std::string text = realm::metadata(model_, name_ + "." + key);
    return text.empty() ? otherwise : std::strtof(text.c_str(), nullptr);
  }
  Values vector_of(const std::string& name) const { return realm::Tensor(model_, name + ".weight").row(0); }

  static void add(Values& to, const Values& values) {
    for (size_t i = 0; i < to.size(); ++i) to[i] += values[i];
  }

  Values normed(const Values& rows, const Values& weights) const {
    Values out(rows.size());
    for (size_t at = 0; at < rows.size(); at += width_) {
      const float scale = 1 / std::sqrt(realm::dot(&rows[at], &rows[at], width_) / static_cast<float>(width_) + epsilon_);
      for (uint32_t i = 0; i < width_; ++i) out[at + i] = rows[at + i] * scale * weights[i];
    }
    return out;
  }

  // Turns each pair of values of each head by an angle that grows with the position.
  void rotate(Values& rows, uint32_t row_size) const {
    for (size_t at = 0; at < rows.size(); at += row_size) {
      float angle = static_cast<float>(length_ + at / row_size);
      for (uint32_t i = 0; i < head_size_; i += 2, angle *= rotation_) {
        const float cosine = std::cos(angle), sine = std::sin(angle);
        for (float* pair = &rows[at + i]; pair < rows.data() + at + row_size; pair += head_size_) {
          const float first = pair[0], second = pair[1];
          pair[0] = first * cosine - second * sine;
          pair[1] = first * sine + second * cosine;
        }
      }
    }
  }

  Values attend(Layer& layer, const Values& rows) {
    Values queries = layer.query.times(rows), keys = layer.key.times(rows), values = layer.value.times(rows);
    const uint32_t kv_size = kv_heads_ * head_size_;
    rotate(queries, width_);
    rotate(keys, kv_size);
    for (const float key : keys) layer.keys.push_back(half(key));
    for (const float value : values) layer.values.push_back(half(value));
    const float scale = 1 / std::sqrt(static_cast<float>(head_size_));
    Values out(queries.size()), scores;
    for (size_t at = 0; at < queries.size(); at += head_size_) {
      const uint32_t position = length_ + static_cast<uint32_t>(at / width_);
      const size_t kv_head = (at % width_) / head_size_ * kv_heads_ / heads_ * head_size_;
      scores.assign(position / 4 * 4 + 4, -INFINITY);  // whole vectors
      for (uint32_t i = 0; i <= position; ++i) {
        scores[i] = realm::dot(&queries[at], &layer.keys[size_t{i} * kv_size + kv_head], head_size_) * scale;
      }
      const float largest = *std::max_element(scores.begin(), scores.end());
      Lanes sums = {};
      for (size_t i = 0; i < scores.size(); i += 4) {
        const Lanes shares = realm::exponential(realm::load(&scores[i]) - largest);
        realm::store(&scores[i], shares);
        sums += shares;
      }
      const float sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
      for (uint32_t i = 0; i <= position; ++i) {
        const float share = scores[i] / sum;
        const float* value = &layer.values[size_t{i} * kv_size + kv_head];
        for (uint32_t j = 0; j < head_size_; ++j) out[at + j] += share * value[j];
      }
    }
    return out;
  }

  const std::string name_;
  const realm::Model& model_;
  realm::Tensor embedding_, head_;
  uint32_t width_ = 0, heads_ = 0, kv_heads_ = 0, head_size_ = 0, length_ = 0;
  float epsilon_ = 0, rotation_ = 0;
  Values norm_;
  std::vector<Layer> layers_;
};

int32_t continue_text(const realm::Model& model, const realm::json::Value& request) {
  const auto prompt = model.tokenize(request.text("prompt"), REALM_TOKENIZE_ADD_SPECIAL);
  if (prompt.empty()) realm::fail(REALM_FAIL_BAD_REQUEST, "prompt: is empty");
  const uint32_t tokens_max = request.integer("max_tokens", 64, 1, 4'096);
  const bool native = realm::request_text(REALM_REQUEST_ROUTE).empty();
  Llama llama(model);
  if (!native) realm::respond(200, REALM_CONTENT_TEXT);
  Values logits = llama.read(prompt);
  for (uint32_t taken = 0; taken < tokens_max; ++taken) {
    const int32_t token = top_of(logits.data(), llama.vocabulary());
    if (model.ends_generation(token)) break;
    realm::emit(native ? REALM_EMIT_TEXT : REALM_EMIT_BODY, model.text_of(token));
    if (taken + 1 < tokens_max) logits = llama.logits(&token, 1, false);
  }
  return 0;
}

// Of p against q, in nats, from logits.
double divergence(const float* p, const float* q, uint32_t count) {
  const auto logarithm_of_sum = [count](const float* logits) {
    double sum = 0;
    for (uint32_t i = 0; i < count; ++i) sum += std::exp(logits[i]);  // logits are small numbers
    return std::log(sum);
  };
  const double of_p = logarithm_of_sum(p), of_q = logarithm_of_sum(q);
  double sum = 0;
  for (uint32_t i = 0; i < count; ++i) sum += std::exp(p[i] - of_p) * ((p[i] - of_p) - (q[i] - of_q));
  return sum;
}

int32_t compare(const realm::Model& model, const std::string& text) {
  Llama llama(model);
  const auto tokens = model.tokenize(text, REALM_TOKENIZE_ADD_SPECIAL);
  const auto count = static_cast<uint32_t>(tokens.size());
  if (count == 0 || count > compared_tokens_max) realm::fail(REALM_FAIL_BAD_REQUEST, "compare: must be 1 to 256 tokens");
  realm::Sequence sequence(model, count + 1);
  sequence.sampler(realm::greedy(REALM_SAMPLER_JUDGED));
  uint32_t same = 0, ties = 0;
  float gap_max = 0;
  double sum = 0;
  Values own;
  for (uint32_t i = 0; i < count; ++i) {
    if (i % slice_tokens_max == 0) own = llama.logits(&tokens[i], std::min(count - i, slice_tokens_max), true);
    sequence.append({tokens[i]});
    sequence.next();
    const Values hosts = sequence.logits(i + 1, llama.vocabulary());
    sequence.truncate(i + 1);
    const float* row = &own[size_t{i % slice_tokens_max} * llama.vocabulary()];
    const int32_t top = top_of(row, llama.vocabulary()), hosts_top = top_of(hosts.data(), llama.vocabulary());
    const float gap = hosts[static_cast<size_t>(hosts_top)] - hosts[static_cast<size_t>(top)];
    same += top == hosts_top;
    ties += top != hosts_top && gap < tie;
    gap_max = std::max(gap_max, gap);
    sum += divergence(hosts.data(), row, llama.vocabulary());
  }
  realm::json::Object answer;
  answer.number("positions", count).number("same_top", same).number("ties", ties).number("gap_max", gap_max).number("kl", sum / count);
  realm::json::answer(answer);
  return 0;
}

}  // namespace

REALM_EXPORT("handle") int32_t handle() {
  const auto request = realm::json::parse(realm::read_request());
  const realm::Model model(request.text("model", ""));
  const std::string text = request.text("compare", "");
  return text.empty() ? continue_text(model, request) : compare(model, text);
}
