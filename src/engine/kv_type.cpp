#include "engine/kv_type.h"

#include <string>

namespace realm::engine {

Result<KvType> parse_kv_type(std::string_view name) {
  if (name == "f16") return KvType::f16;
  if (name == "q8_0") return KvType::q8_0;
  return fail(ErrorCode::invalid_argument, "KV type \"" + std::string(name) + "\" is unknown: use f16 or q8_0");
}

}  // namespace realm::engine
