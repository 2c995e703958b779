#include "realm/chat.h"

namespace realm {

void offer_tools(Chat& chat, const Model& model) {
  Request& request = chat.request;
  const bool offers = request.tools.is_array() && !request.tools.empty() && chat.choice.kind != ToolChoice::none;
  if (!offers) request.tools = nullptr;
  chat.offered = offers ? request.tools : common_json(nullptr);
  request.shows_special = offers;
  parse_call_arguments(request.messages);
  std::string source = offers ? model.text(REALM_TEXT_CHAT_TEMPLATE_TOOLS) : "";
  if (source.empty()) source = model.text(REALM_TEXT_CHAT_TEMPLATE);
  if (source.find("tools") == std::string::npos) tell_tools_in_text(request);
  if (!offers) return;
  if (chat.choice.kind >= ToolChoice::required) {
    request.shape = {
        .kind = AnswerShape::Kind::json_schema, .field = "tools", .source = {}, .schema = call_schema(chat.offered, chat.choice)};
  } else if (request.shape.kind == AnswerShape::Kind::json_schema && request.shape.schema.is_object()) {
    request.shape.schema = call_schema(chat.offered, chat.choice, request.shape.schema);
  }
}

void prefill_from_last_message(Request& request) {
  common_json& messages = request.messages;
  if (messages.size() < 2) return;
  const common_json& last = messages.back();
  const bool is_text = last.at("role").get<std::string>() == "assistant" && find(last, "tool_calls") == nullptr;
  if (!is_text || !last.contains("content") || !last.at("content").is_string()) return;
  request.prefill = last.at("content").get<std::string>();
  messages.erase(messages.size() - 1);
}

ChatSink::ChatSink(const Chat& chat) : single_call_(!chat.parallel_calls), choices_(chat.copies) {
  if (!chat.offered.is_array()) return;
  for (Of& of : choices_) of.parser.emplace(callable_names(chat.offered, chat.choice));
}

void ChatSink::give(uint32_t choice, ToolPieces& pieces) {
  if (single_call_) {
    if (choices_[choice].called) return;
    if (pieces.calls.size() > 1) pieces.calls.resize(1);
  }
  choices_[choice].called = choices_[choice].called || !pieces.calls.empty();
  if (!pieces.text.empty() || !pieces.calls.empty()) on_pieces(choice, pieces);
}

void ChatSink::on_text(uint32_t choice, const std::string& text) {
  ToolPieces pieces;
  if (choices_[choice].parser) {
    choices_[choice].parser->add(text, pieces);
  } else {
    pieces.text = text;
  }
  give(choice, pieces);
}

void ChatSink::on_end(uint32_t choice, const Ending& ending) {
  ToolPieces pieces;
  if (choices_[choice].parser) choices_[choice].parser->finish(pieces);
  give(choice, pieces);
  on_finished(choice, ending, choices_[choice].called);
}

}  // namespace realm
