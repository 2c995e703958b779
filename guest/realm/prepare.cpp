// What happens once, at build time, before the memory of realm.wasm is written down (guest/snapshot): everything is used that makes
// tables at its first use, so that no request pays for them. Host functions do nothing here, and nothing of a customer is
// there. Returns the size of the stack.
#include <cstdint>
#include <cstdlib>

#include "include/realm.hpp"
#include "realm/chat_template.h"
#include "realm/request.h"

namespace realm {
namespace {

constexpr size_t usual_heap_bytes = 1u << 20;

constexpr const char* usual_request = R"({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
  "max_tokens": 16, "temperature": 0.5, "stop": ["end"], "seed": 1})";

// Tests, filters, methods, macros, name spaces: of each kind of value that has a table of its own.
constexpr const char* usual_template = R"({%- macro line(message) -%}
{{- '<|' + message['role'] + '|>' + message['content'] | trim + '\n' -}}
{%- endmacro -%}
{%- set ns = namespace(system='', count=0) -%}
{%- for message in messages -%}
{%- if loop.first and message.role != 'system' -%}{{- 'You are a helpful assistant.' -}}{%- endif -%}
{%- if message.content is string and tools is not defined -%}{{- line(message) -}}{%- endif -%}
{%- set ns.count = ns.count + message.content.split(' ') | length + 1.5 | int -%}
{%- endfor -%}
{{- {'role': 'assistant', 'list': [1, 2]}.items() | list | tojson -}}
{{- (ns.count > 2) | string + none | string + range(2) | list | first | string -}}
{%- if add_generation_prompt is true -%}{{- '<|assistant|>\n' -}}{%- endif -%})";

}  // namespace
}  // namespace realm

extern "C" char __global_base;  // of the linker: the stack lies below
extern "C" uint8_t* realm_alloc(uint32_t size);

REALM_EXPORT("prepare") uint32_t realm_prepare() {
  delete[] realm_alloc(realm::usual_heap_bytes);
  realm::Request request;
  if (realm::parse_request(realm::usual_request, request)) std::abort();
  realm::TemplateInput input;
  input.messages = request.messages;
  input.bos_token = "<s>";
  input.eos_token = "</s>";
  realm::render_template_in(input, {});
  input.source = realm::usual_template;
  realm::render_template_in(input, {});
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(&__global_base));
}
