// /tokenize and /detokenize, as llama-server and vLLM have them.
#include "realm/chat.h"
#include "realm/openai.h"
#include "realm/openai_fields.h"
#include "realm/utf8_assembler.h"

namespace realm {
namespace {

std::string model_name(const common_json& body) {
  std::string name;
  refuse_if(read_text(body, "model", name));
  return name;
}

// A token that is no whole text is told as its bytes.
common_json shown(const std::string& text) {
  if (valid_utf8_prefix(text) == text.size()) return text;
  common_json bytes = common_json::array();
  for (const char c : text) bytes.push_back(static_cast<int32_t>(static_cast<unsigned char>(c)));
  return bytes;
}

void reply_tokens(const common_json& body, const Model& model, const std::vector<int32_t>& tokens, bool with_pieces) {
  bool with_texts = false;
  refuse_if(read_bool(body, "return_token_strs", with_texts));
  common_json list = common_json::array();
  common_json texts = common_json::array();
  for (const int32_t token : tokens) {
    if (with_texts) texts.push_back(model.token_text(token));
    if (!with_pieces) {
      list.push_back(token);
      continue;
    }
    common_json piece = common_json::object();
    piece["id"] = token;
    piece["piece"] = shown(model.token_text(token));
    list.push_back(piece);
  }
  common_json answer = common_json::object();
  answer["tokens"] = list;
  answer["count"] = tokens.size();
  answer["max_model_len"] = model.info().context_tokens_max;
  if (with_texts) answer["token_strs"] = texts;
  reply(answer);
}

// The tokens that a chat would be answered from.
void answer_tokenize_chat(const common_json& body) {
  Chat chat = read_chat(body);
  const Model model(chat.request.model);
  reply_tokens(body, model, chat_prompt(chat, model), false);
}

}  // namespace

void answer_tokenize(const common_json& body) {
  std::string text;
  bool add_special = false;
  bool parse_special = true;
  bool with_pieces = false;
  if (find(body, "messages") != nullptr) return answer_tokenize_chat(body);
  const bool vllm = find(body, "prompt") != nullptr;
  if (!vllm && find(body, "content") == nullptr) refuse(400, "missing_required_parameter", "content: is missing", "content");
  refuse_if(read_text(body, vllm ? "prompt" : "content", text));
  if (vllm) add_special = true;
  refuse_if(read_bool(body, vllm ? "add_special_tokens" : "add_special", add_special));
  refuse_if(read_bool(body, "parse_special", parse_special));
  refuse_if(read_bool(body, "with_pieces", with_pieces));
  const char* field = vllm ? "prompt" : "content";
  if (text.size() > tokenize_bytes_max) refuse(400, "", std::string(field) + ": at most 1 MiB of text", field);
  const Model model(model_name(body));
  const auto tokens =
      model.tokenize(text, (add_special ? REALM_TOKENIZE_ADD_SPECIAL : 0) | (parse_special ? REALM_TOKENIZE_PARSE_SPECIAL : 0));
  reply_tokens(body, model, tokens, with_pieces);
}

void answer_detokenize(const common_json& body) {
  const common_json* value = find(body, "tokens");
  if (value == nullptr) refuse(400, "missing_required_parameter", "tokens: is missing", "tokens");
  if (!value->is_array()) refuse_if(wrong_type("tokens", "an array of token ids", *value));
  const Model model(model_name(body));
  std::vector<int32_t> tokens;
  for (const common_json& id : *value) {
    const bool known = id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < model.info().vocabulary_tokens;
    if (!known) refuse(400, "", "tokens: must be token ids of the model's vocabulary", "tokens");
    tokens.push_back(static_cast<int32_t>(id.get<int64_t>()));
  }
  std::string text;
  if (!tokens.empty()) model.append_text(tokens.data(), static_cast<uint32_t>(tokens.size()), REALM_DETOKENIZE_SPECIAL, text);
  common_json answer = common_json::object();
  answer["content"] = text;
  answer["prompt"] = text;
  reply(answer);
}

}  // namespace realm
