// The pieces of text that calls are written in.
#include "realm/call_text.h"

#include "base/check.h"
#include "fuzz/fuzz_choices.h"
#include "fuzz/fuzz_target.h"
#include "realm/call_forms.h"

REALM_FUZZ_TARGET(call_text, bytes) {
  using namespace realm;
  CallableTools tools;
  tools.add("add");
  std::vector<ToolCall> calls;
  const auto form = static_cast<CallForm>(fuzz::take_byte(bytes) % (static_cast<uint8_t>(CallForm::gemma) + 1));
  const bool read = read_calls(form, bytes, tools, calls);
  REALM_CHECK(read || calls.empty());
  REALM_CHECK(json_length(bytes) <= bytes.size());
  REALM_CHECK(without_code_block(bytes).size() <= bytes.size());
  std::string_view python = bytes, gemma = bytes;
  take_python_value(python);
  take_gemma_value(gemma);
}
