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
  if (offers && chat.choice.kind >= ToolChoice::required) {
    request.shape = {
        .kind = AnswerShape::Kind::json_schema, .field = "tools", .source = {}, .schema = call_schema(chat.offered, chat.choice)};
  }
}

ChatSink::ChatSink(const Chat& chat) : choices_(chat.copies) {
  if (!chat.offered.is_array()) return;
  for (Of& of : choices_) of.parser.emplace(tool_names(chat.offered));
}

void ChatSink::give(uint32_t choice, const ToolPieces& pieces) {
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
