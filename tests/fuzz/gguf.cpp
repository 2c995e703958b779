// A model's file, as the validating child reads it.
#include "base/check.h"
#include "fuzz/fuzz_target.h"
#include "models/gguf_check.h"

REALM_FUZZ_TARGET(gguf, bytes) {
  const auto summary = realm::models::check_gguf({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  if (summary) {
    REALM_CHECK(summary->bytes <= bytes.size());
  } else {
    REALM_CHECK(!summary.error().message.empty());
  }
}
