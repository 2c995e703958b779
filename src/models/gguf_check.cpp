#include "models/gguf_check.h"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "models/gguf_reader.h"

namespace realm::models {
namespace {

static_assert(std::endian::native == std::endian::little, "files are read as they lie in memory");

enum class ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, text, array, u64, i64, f64 };
constexpr uint32_t value_types = 13;
constexpr std::array<uint64_t, value_types> value_bytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};  // 0: of no fixed size

// How a tensor type packs its elements, by its number in the format.
struct Packing {
  uint32_t type;
  const char* name;
  uint32_t block_elements;
  uint32_t block_bytes;
};
constexpr Packing packings[] = {
    {0, "F32", 1, 4},        {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},    {3, "Q4_1", 32, 20},    {6, "Q5_0", 32, 22},
    {7, "Q5_1", 32, 24},     {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},    {10, "Q2_K", 256, 84},  {11, "Q3_K", 256, 110},
    {12, "Q4_K", 256, 144},  {13, "Q5_K", 256, 176},   {14, "Q6_K", 256, 210}, {15, "Q8_K", 256, 292}, {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74}, {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50}, {20, "IQ4_NL", 32, 18}, {21, "IQ3_S", 256, 110},
    {22, "IQ2_S", 256, 82},  {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},       {25, "I16", 1, 2},      {26, "I32", 1, 4},
    {27, "I64", 1, 8},       {28, "F64", 1, 8},        {29, "IQ1_M", 256, 56}, {30, "BF16", 1, 2},     {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},  {39, "MXFP4", 32, 17},
};
constexpr uint32_t dimensions_max = 4;
constexpr uint64_t elements_max = uint64_t{1} << 44;
constexpr uint64_t default_alignment = 32;
constexpr uint64_t alignment_max = 1u << 16;

struct Value {
  ValueType type = ValueType::u8;
  uint64_t natural = 0;  // of whole numbers from 0 up
  bool is_natural = false;
  std::string_view text;
  ValueType item_type = ValueType::u8;  // of arrays
  uint64_t items = 0;
};

struct Tensor {
  std::string_view name;
  uint64_t elements = 1;
  uint64_t rows = 1;  // the dimension after the first
  uint64_t offset = 0;
  uint64_t bytes = 0;
  const Packing* packing = nullptr;
};

std::unexpected<Error> fault(const std::string& what) { return fail(ErrorCode::corrupt, what); }

bool is_plain(std::string_view name) {
  return !name.empty() && name.size() <= gguf_name_bytes_max &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

class Checker {
 public:
  explicit Checker(std::span<const uint8_t> bytes) : bytes_(bytes), reader_(bytes) {}

  Result<GgufSummary> run() {
    uint64_t tensors = 0, keys = 0;
    if (auto done = header(tensors, keys); !done) return fail(std::move(done));
    for (uint64_t i = 0; i < keys; ++i) {
      if (auto done = key(i); !done) return fail(std::move(done));
    }
    if (auto done = alignment(); !done) return fail(std::move(done));
    for (uint64_t i = 0; i < tensors; ++i) {
      if (auto done = tensor(i); !done) return fail(std::move(done));
    }
    if (auto done = layout(); !done) return fail(std::move(done));
    if (auto done = vocabulary(); !done) return fail(std::move(done));
    return summary();
  }

 private:
  Result<void> header(uint64_t& tensors, uint64_t& keys) {
    if (reader_.number<uint32_t>() != 0x46554747 || !reader_.ok()) return fault("it is not a GGUF file");
    const auto version = reader_.number<uint32_t>();
    if (!reader_.ok()) return fault("the header is cut off");
    if (version != 2 && version != 3) return fault("GGUF version " + std::to_string(version) + ": only 2 and 3 are read");
    tensors = reader_.number<uint64_t>();
    keys = reader_.number<uint64_t>();
    if (!reader_.ok()) return fault("the header is cut off");
    if (tensors > gguf_tensors_max) return fault(std::to_string(tensors) + " tensors: more than " + std::to_string(gguf_tensors_max));
    if (keys > gguf_keys_max) return fault(std::to_string(keys) + " keys: more than " + std::to_string(gguf_keys_max));
    return {};
  }

  Result<void> key(uint64_t index) {
    const std::string_view name = reader_.text(gguf_name_bytes_max);
    const std::string subject =
        "key " + std::to_string(index) + (name.empty() ? "" : " (" + std::string(is_plain(name) ? name : "?") + ")");
    if (!reader_.ok() || !is_plain(name)) return fault(subject + ": its name is cut off, too long or not plain text");
    Value value;
    const auto type = reader_.number<uint32_t>();
    if (type >= value_types) return fault(subject + ": unknown type " + std::to_string(type));
    value.type = static_cast<ValueType>(type);
    if (value.type == ValueType::array) {
      if (auto done = array(value, subject); !done) return done;
    } else {
      scalar(value);
    }
    if (!reader_.ok()) return fault(subject + ": its value is cut off or too long");
    if (value.type == ValueType::boolean && value.natural > 1) return fault(subject + ": a boolean that is neither true nor false");
    if (!values_.emplace(name, value).second) return fault(subject + ": is there twice");
    return {};
  }

  void scalar(Value& value) {
    const auto whole = [&value](auto number) {
      value.is_natural = number >= 0;
      value.natural = value.is_natural ? static_cast<uint64_t>(number) : 0;
    };
    switch (value.type) {
      case ValueType::u8:
      case ValueType::boolean:
        return whole(reader_.number<uint8_t>());
      case ValueType::i8:
        return whole(reader_.number<int8_t>());
      case ValueType::u16:
        return whole(reader_.number<uint16_t>());
      case ValueType::i16:
        return whole(reader_.number<int16_t>());
      case ValueType::u32:
        return whole(reader_.number<uint32_t>());
      case ValueType::i32:
        return whole(reader_.number<int32_t>());
      case ValueType::u64:
        return whole(reader_.number<uint64_t>());
      case ValueType::i64:
        return whole(reader_.number<int64_t>());
      case ValueType::f32:
      case ValueType::f64:
        reader_.skip(value_bytes[static_cast<uint32_t>(value.type)]);
        return;
      case ValueType::text:
        value.text = reader_.text(gguf_text_bytes_max);
        return;
      case ValueType::array:
        return;
    }
  }

  Result<void> array(Value& value, const std::string& subject) {
    const auto type = reader_.number<uint32_t>();
    value.items = reader_.number<uint64_t>();
    if (!reader_.ok()) return {};
    if (type >= value_types || static_cast<ValueType>(type) == ValueType::array)
      return fault(subject + ": an array of unknown type " + std::to_string(type));
    if (value.items > gguf_array_items_max) return fault(subject + ": " + std::to_string(value.items) + " items are too many");
    value.item_type = static_cast<ValueType>(type);
    if (value.item_type != ValueType::text) {
      reader_.skip(value.items * value_bytes[type]);
      return {};
    }
    for (uint64_t i = 0; i < value.items && reader_.ok(); ++i) reader_.text(gguf_text_bytes_max);
    return {};
  }

  Result<void> alignment() {
    const Value* value = find("general.alignment");
    if (value == nullptr) return {};
    alignment_ = value->natural;
    if (!value->is_natural || alignment_ < 8 || alignment_ > alignment_max || !std::has_single_bit(alignment_)) {
      return fault("general.alignment: must be a power of two from 8 to " + std::to_string(alignment_max));
    }
    return {};
  }

  Result<void> tensor(uint64_t index) {
    Tensor tensor;
    tensor.name = reader_.text(gguf_name_bytes_max);
    const std::string subject = "tensor " + std::to_string(index) +
                                (tensor.name.empty() ? "" : " (" + std::string(is_plain(tensor.name) ? tensor.name : "?") + ")");
    if (!reader_.ok() || !is_plain(tensor.name)) return fault(subject + ": its name is cut off, too long or not plain text");
    const auto dimensions = reader_.number<uint32_t>();
    if (!reader_.ok() || dimensions < 1 || dimensions > dimensions_max)
      return fault(subject + ": has " + std::to_string(dimensions) + " dimensions, not 1 to 4");
    uint64_t first = 1;
    for (uint32_t i = 0; i < dimensions; ++i) {
      const auto size = reader_.number<uint64_t>();
      if (size == 0 || size > elements_max || tensor.elements > elements_max / size)
        return fault(subject + ": dimension " + std::to_string(i) + " is out of range");
      tensor.elements *= size;
      if (i == 0) first = size;
      if (i == 1) tensor.rows = size;
    }
    const auto type = reader_.number<uint32_t>();
    tensor.offset = reader_.number<uint64_t>();
    if (!reader_.ok()) return fault(subject + ": is cut off");
    const auto packing = std::find_if(std::begin(packings), std::end(packings), [type](const Packing& one) { return one.type == type; });
    if (packing == std::end(packings)) return fault(subject + ": unknown type " + std::to_string(type));
    if (first % packing->block_elements != 0) return fault(subject + ": its rows are not whole blocks of " + packing->name);
    tensor.packing = packing;
    tensor.bytes = tensor.elements / packing->block_elements * packing->block_bytes;
    if (tensor.offset % alignment_ != 0) return fault(subject + ": is not aligned to " + std::to_string(alignment_) + " bytes");
    if (!names_.insert(tensor.name).second) return fault(subject + ": is there twice");
    tensors_.push_back(tensor);
    return {};
  }

  // Every tensor lies inside the file, and none on another.
  Result<void> layout() const {
    const uint64_t data = (reader_.at() + alignment_ - 1) / alignment_ * alignment_;
    std::vector<const Tensor*> ordered;
    for (const Tensor& tensor : tensors_) ordered.push_back(&tensor);
    std::sort(ordered.begin(), ordered.end(), [](const Tensor* a, const Tensor* b) { return a->offset < b->offset; });
    uint64_t end = 0;
    for (const Tensor* tensor : ordered) {
      const std::string subject = "tensor " + std::string(tensor->name);
      if (tensor->offset < end) return fault(subject + ": lies on the one before it");
      end = tensor->offset + tensor->bytes;
      if (data > bytes_.size() || tensor->offset > bytes_.size() - data || tensor->bytes > bytes_.size() - data - tensor->offset) {
        return fault(subject + ": ends beyond the file, which is cut off or was changed");
      }
    }
    return {};
  }

  Result<void> vocabulary() const {
    if (natural("split.no").value_or(0) > 0) return {};  // a further part of a model
    const Value* architecture = find("general.architecture");
    if (architecture == nullptr || architecture->type != ValueType::text || !is_plain(architecture->text))
      return fault("general.architecture: is missing or no text");
    const Value* tokens = find("tokenizer.ggml.tokens");
    if (tokens == nullptr) return {};
    if (tokens->type != ValueType::array || tokens->item_type != ValueType::text || tokens->items == 0)
      return fault("tokenizer.ggml.tokens: must be texts");
    const struct {
      const char* name;
      ValueType type;
    } parallel[] = {{"tokenizer.ggml.scores", ValueType::f32}, {"tokenizer.ggml.token_type", ValueType::i32}};
    for (const auto& [name, type] : parallel) {
      const Value* value = find(name);
      if (value != nullptr && (value->type != ValueType::array || value->item_type != type || value->items != tokens->items)) {
        return fault(std::string(name) + ": must have a number for each of the " + std::to_string(tokens->items) + " tokens");
      }
    }
    for (const auto& [name, value] : values_) {
      if (!name.starts_with("tokenizer.ggml.") || !name.ends_with("_token_id")) continue;
      if (value.type == ValueType::array || value.type == ValueType::text || !value.is_natural || value.natural >= tokens->items) {
        return fault(std::string(name) + ": is not a token of the vocabulary");
      }
    }
    for (const Tensor& tensor : tensors_) {
      if (tensor.name == "token_embd.weight" && tensor.rows != tokens->items) {
        return fault("tensor token_embd.weight: has " + std::to_string(tensor.rows) + " rows for " + std::to_string(tokens->items) +
                     " tokens");
      }
    }
    return {};
  }

  Result<GgufSummary> summary() const {
    GgufSummary found;
    found.bytes = bytes_.size();
    if (const Value* architecture = find("general.architecture")) found.architecture = architecture->text;
    std::map<std::string_view, uint64_t> bytes_of;
    for (const Tensor& tensor : tensors_) {
      found.parameters += tensor.elements;
      bytes_of[tensor.packing->name] += tensor.bytes;
    }
    const auto most = std::max_element(bytes_of.begin(), bytes_of.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    if (most != bytes_of.end()) found.quantization = most->first;
    if (const Value* tokens = find("tokenizer.ggml.tokens")) found.vocabulary_tokens = tokens->items;
    const auto number = [&](const char* name) { return natural(found.architecture + "." + name).value_or(0); };
    found.context_tokens = number("context_length");
    const uint64_t heads = number("attention.head_count");
    const uint64_t kv_heads = number("attention.head_count_kv") > 0 ? number("attention.head_count_kv") : heads;
    uint64_t head = number("attention.key_length");
    if (head == 0 && heads > 0) head = number("embedding_length") / heads;
    const uint64_t layers = number("block_count");
    if (layers <= 65'536 && kv_heads <= 65'536 && head <= 65'536) found.kv_bytes_per_token = 2 * layers * kv_heads * head * 2;
    found.parts = std::clamp<uint64_t>(natural("split.count").value_or(1), 1, gguf_parts_max);
    return found;
  }

  const Value* find(std::string_view name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? nullptr : &found->second;
  }
  std::optional<uint64_t> natural(std::string_view name) const {
    const Value* value = find(name);
    return value != nullptr && value->is_natural ? std::optional(value->natural) : std::nullopt;
  }

  const std::span<const uint8_t> bytes_;
  GgufReader reader_;
  std::map<std::string_view, Value> values_;
  std::vector<Tensor> tensors_;
  std::set<std::string_view> names_;
  uint64_t alignment_ = default_alignment;
};

}  // namespace

Result<GgufSummary> check_gguf(std::span<const uint8_t> bytes) { return Checker(bytes).run(); }

}  // namespace realm::models
