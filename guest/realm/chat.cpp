#include "realm/chat.h"

namespace realm {

namespace {

void offer_tools(Chat& chat, const Model& model) {
  Request& request = chat.request;
  const bool offers = request.tools.is_array() && !request.tools.empty() && chat.choice.kind != ToolChoice::none;
  if (!offers) request.tools = nullptr;
  chat.offered = offers ? request.tools : common_json(nullptr);
  parse_call_arguments(request.messages);
  std::string source = offers ? model.text(REALM_TEXT_CHAT_TEMPLATE_TOOLS) : "";
  if (source.empty()) source = model.text(REALM_TEXT_CHAT_TEMPLATE);
  if (source.find("tools") == std::string::npos) tell_tools_in_text(request);
  chat.form = answer_form(source);
  request.shows_special = offers || chat.form.has_marks();
  if (!offers) return;
  if (chat.choice.kind >= ToolChoice::required) {
    request.shape = {
        .kind = AnswerShape::Kind::json_schema, .field = "tools", .source = {}, .schema = call_schema(chat.offered, chat.choice)};
  } else if (request.shape.kind == AnswerShape::Kind::json_schema && request.shape.schema.is_object()) {
    request.shape.schema = call_schema(chat.offered, chat.choice, request.shape.schema);
  }
}

// gpt-oss' template knows reasoning by another name, and wants a call's message without text beside it.
void rename_reasoning(common_json& messages) {
  for (common_json& message : messages) {
    const common_json* reasoning = find(message, "reasoning_content");
    if (reasoning == nullptr || !reasoning->is_string() || message.contains("thinking")) continue;
    message["thinking"] = common_json(*reasoning);
    const common_json* calls = find(message, "tool_calls");
    if (calls != nullptr && calls->is_array() && !calls->empty()) message.erase("content");
  }
}

}  // namespace

std::vector<int32_t> chat_prompt(Chat& chat, const Model& model) {
  offer_tools(chat, model);
  Request& request = chat.request;
  if (chat.form.kind == AnswerForm::Kind::channels) rename_reasoning(request.messages);
  std::string text = prompt_text(model, request);
  chat.start = start_after(chat.form, text);
  if (!request.prefill.empty() || chat.constrained()) {
    text += lead_to_text(chat.form, text) + request.prefill;
    chat.start = AnswerStart::in_text;
  }
  return text_tokens(model, text, "messages");
}

void set_reasoning_effort(Chat& chat, const std::string& effort) {
  if (effort.empty()) return;
  common_json& arguments = chat.request.template_arguments;
  if (!arguments.is_object()) arguments = common_json::object();
  if (effort == "none") {
    if (!arguments.contains("enable_thinking")) arguments["enable_thinking"] = false;
  } else if (!arguments.contains("reasoning_effort")) {
    arguments["reasoning_effort"] = effort;
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
  ReaderOptions options{.start = chat.start,
                        .reasoning_apart = chat.reasoning_apart,
                        .constrained = chat.constrained(),
                        .finds_calls = chat.offered.is_array()};
  if (options.finds_calls) options.tools = callable_tools(chat.offered, chat.choice);
  for (Of& of : choices_) of.reader = make_answer_reader(chat.form, options);
}

void ChatSink::give(uint32_t choice, AnswerPieces& pieces) {
  if (single_call_) {
    if (choices_[choice].called) return;
    if (pieces.calls.size() > 1) pieces.calls.resize(1);
  }
  choices_[choice].called = choices_[choice].called || !pieces.calls.empty();
  if (!pieces.empty()) on_pieces(choice, pieces);
}

void ChatSink::on_text(uint32_t choice, const std::string& text) {
  AnswerPieces pieces;
  if (choices_[choice].reader) {
    choices_[choice].reader->add(text, pieces);
  } else {
    pieces.text = text;
  }
  give(choice, pieces);
}

void ChatSink::on_end(uint32_t choice, const Ending& ending) {
  AnswerPieces pieces;
  if (choices_[choice].reader) choices_[choice].reader->finish(pieces);
  give(choice, pieces);
  on_finished(choice, ending, choices_[choice].called);
}

}  // namespace realm
