// Carries out the store calls that the request lists, for test_store.py:
//   [["get", key], ["put", key, value], ["list", prefix], ["fill", key, count, character]]   fill: a put of so many characters
// and answers with what each returned: a status, a text, or a list.
#include "realm_json.hpp"

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

namespace {

const uint8_t* bytes_of(const std::string& text) { return reinterpret_cast<const uint8_t*>(text.data()); }
uint32_t size_of(const std::string& text) { return static_cast<uint32_t>(text.size()); }

std::string carry_out(const realm::json::Value& call) {
  const std::string& what = call.items[0].string;
  const std::string& key = call.items[1].string;
  if (what == "list") return realm::json::list(realm::store_keys(key), realm::json::quote);
  if (what == "get") {
    std::string value(8, '\0');
    int32_t status = 0;
    while (true) {
      status = realm_store_get(bytes_of(key), size_of(key), reinterpret_cast<uint8_t*>(value.data()), size_of(value));
      if (status < 0) return std::to_string(status);
      const bool fits = static_cast<uint32_t>(status) <= size_of(value);
      value.resize(static_cast<size_t>(status));
      if (fits) return realm::json::quote(value);
    }
  }
  const std::string value =
      what == "put" ? call.items[2].string : std::string(static_cast<size_t>(call.items[2].number), call.items[3].string[0]);
  return std::to_string(realm_store_put(bytes_of(key), size_of(key), bytes_of(value), size_of(value)));
}

}  // namespace

REALM_EXPORT("handle") int32_t handle() {
  auto request = realm::json::parse(realm::read_request());
  if (request.find("prompt") != nullptr) request = realm::json::parse(request.text("prompt"));  // as `realm run` has it
  realm::json::answer(realm::json::Object().raw("results", realm::json::list(request.list("calls").items, carry_out)));
  return 0;
}
