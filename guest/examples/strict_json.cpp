// Extraction into JSON that always validates: the program writes what the fields leave no choice about, and the model the values.
// Each token that the model draws is looked at and rejected when the value could not go on with it.
//
//   {"text": "...", "fields": {"name": "string", "age": "integer", "member": "boolean"}, "temperature": 0, "seed": 1}
//   {"name": "...", "age": 34, "member": true}

#include "realm_json.hpp"

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

namespace {

constexpr size_t value_bytes_max = 200, digits_max = 15;
constexpr uint32_t rejections_max = 200;  // of one token; then the value ends

enum class Verdict { rejected, goes_on, ends_with_it, ends_before_it };

// The inside of a string, and its closing quote as the last byte of a token. No escapes.
Verdict judge_string(const std::string& value, std::string_view piece) {
  if (piece.empty() || value.size() + piece.size() > value_bytes_max) return Verdict::rejected;
  while (!piece.empty()) {
    const size_t bytes = realm::json::character_bytes(piece);
    if (piece == "\"") return Verdict::ends_with_it;
    if (bytes == 0 || piece[0] == '"' || piece[0] == '\\' || static_cast<uint8_t>(piece[0]) < 0x20) return Verdict::rejected;
    piece.remove_prefix(bytes);
  }
  return Verdict::goes_on;
}

// A blank, a sign, digits without a leading zero; something else ends it.
Verdict judge_integer(const std::string& value, std::string_view piece) {
  const std::string all = value + std::string(piece);
  size_t at = all.starts_with(' ') ? 1 : 0;
  if (at < all.size() && all[at] == '-') ++at;
  const size_t digits = all.find_first_not_of("0123456789", at);
  const bool whole = !value.empty() && value.back() >= '0' && value.back() <= '9';
  const bool zero = at + 1 < all.size() && all[at] == '0';
  if (piece.empty() || digits != std::string::npos || zero || all.size() - at > digits_max) {
    return whole ? Verdict::ends_before_it : Verdict::rejected;
  }
  return Verdict::goes_on;
}

class Extraction {
 public:
  Extraction(const realm::Model& model, realm::Sequence& sequence) : model_(model), sequence_(sequence) {}

  void write(const std::string& text) {
    const auto tokens = model_.tokenize(text, 0);
    if (!sequence_.push(tokens.data(), static_cast<uint32_t>(tokens.size()))) {
      realm::fail(REALM_FAIL_CONTEXT_EXCEEDED, "text: the context is full");
    }
  }
  std::string string() {
    write(" \"");
    std::string value = draw(judge_string);
    if (!value.ends_with('"')) write("\""), value += '"';
    return "\"" + value;
  }
  std::string integer() {
    std::string value = draw(judge_integer);
    const bool empty = value.find_first_of("0123456789") == std::string::npos;
    return empty ? value + likeliest({"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}) : value;
  }
  std::string boolean() { return likeliest({" true", " false"}); }

 private:
  std::string likeliest(const std::vector<std::string>& texts) {
    const uint32_t position = sequence_.length();
    sequence_.next();
    const auto logprob = [&](const std::string& text) { return sequence_.logprob(position, model_.tokenize(text, 0)[0]); };
    const std::string best = texts[realm::index_of_best(texts, logprob)];
    sequence_.truncate(position);
    write(best);
    return best;
  }

  template <class Judge>
  std::string draw(const Judge& judge) {
    std::string value;
    for (uint32_t rejections = 0; rejections < rejections_max;) {
      const uint32_t position = sequence_.length();
      const auto token = sequence_.next();
      if (!token) realm::fail(REALM_FAIL_CONTEXT_EXCEEDED, "text: the context is full");
      const std::string piece = model_.ends_generation(*token) ? "" : model_.text_of(*token);
      const Verdict verdict = judge(value, piece);
      if (verdict == Verdict::rejected) {
        sequence_.reject(position, &*token, 1);  // drawn anew from the same logits
        ++rejections;
        continue;
      }
      if (verdict == Verdict::ends_with_it) return value + piece;
      if (verdict == Verdict::ends_before_it) {
        sequence_.truncate(position);
        return value;
      }
      value += piece;
      rejections = 0;
    }
    return value;
  }

  const realm::Model& model_;
  realm::Sequence& sequence_;
};

}  // namespace

REALM_EXPORT("handle") int32_t handle() {
  const auto request = realm::json::parse(realm::read_request());
  const realm::Model model(request.text("model", ""));
  const auto& fields = request.object("fields");
  std::string names;
  for (const std::string& key : fields.keys) names += (names.empty() ? "" : ", ") + key;
  const auto prompt = model.tokenize("Extract " + names + " from the text as JSON.\n\nText: " + request.text("text") + "\n\nJSON: ",
                                     REALM_TOKENIZE_ADD_SPECIAL);
  const auto room = static_cast<uint32_t>(fields.keys.size() * (value_bytes_max + 64) + 64);
  realm::Sequence sequence(model, static_cast<uint32_t>(prompt.size()) + room);
  sequence.append(prompt);
  sequence.sampler(realm::drawn(static_cast<float>(request.real("temperature", 0, 0, 100)), request.integer("seed", 1, 0, 1u << 30),
                                REALM_SAMPLER_JUDGED));
  Extraction extraction(model, sequence);
  realm::json::Object object;
  for (size_t i = 0; i < fields.keys.size(); ++i) {
    extraction.write((i == 0 ? "{" : ", ") + realm::json::quote(fields.keys[i]) + ":");
    const std::string& type = fields.items[i].string;
    if (type == "string") {
      object.raw(fields.keys[i], extraction.string());
    } else if (type == "integer") {
      object.raw(fields.keys[i], extraction.integer());
    } else if (type == "boolean") {
      object.raw(fields.keys[i], extraction.boolean());
    } else {
      realm::fail(REALM_FAIL_BAD_REQUEST, "fields: a type is string, integer or boolean");
    }
  }
  realm::json::answer(object);
  return 0;
}
