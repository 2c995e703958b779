// A request's body, and what of it is read before a model is asked: options, messages, tools, the form of the answer.
#include "fuzz/fuzz_target.h"
#include "realm/request.h"
#include "realm/tools.h"

REALM_FUZZ_TARGET(json_request, bytes) {
  using namespace realm;
  Request request;
  if (parse_request(std::string(bytes), request)) return;
  common_json object;
  if (parse_object(std::string(bytes), object)) return;
  const common_json* tools = find(object, "tools");
  if (tools == nullptr || check_tools(*tools)) return;
  ToolChoice choice;
  if (read_tool_choice(object, *tools, choice)) return;
  request.tools = *tools;
  callable_tools(*tools, choice);
  call_schema(*tools, choice);
  parse_call_arguments(request.messages);
  tell_tools_in_text(request);
}
