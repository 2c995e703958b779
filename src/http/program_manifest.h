// What a program says it needs, in JSON: it gets that and nothing else.
//
//   {"models": ["chat"], "kv_tokens": 2048, "tokens": 4096, "store_bytes": 65536, "cpu_ms": 500, "memory_bytes": 33554432,
//    "tensors": true}
//
// What is not named is not allowed. `models` may be "*": those that the realm may use. `cpu_ms` and `memory_bytes` must be named, since
// nothing runs without. The realm's own limits hold besides.
#pragma once

#include <string_view>

#include "base/result.h"
#include "runtime/allowance.h"

namespace realm::http {

constexpr size_t manifest_bytes_max = 4'096;
constexpr size_t manifest_models_max = 64;

// The error names the field.
Result<runtime::Allowance> parse_manifest(std::string_view json);

}  // namespace realm::http
