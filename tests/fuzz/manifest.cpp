// The manifest of an uploaded program.
#include "base/check.h"
#include "fuzz/fuzz_target.h"
#include "http/program_manifest.h"

REALM_FUZZ_TARGET(manifest, bytes) {
  const auto allowance = realm::http::parse_manifest(bytes);
  if (!allowance) {
    REALM_CHECK(!allowance.error().message.empty());
    return;
  }
  REALM_CHECK(allowance->models.size() <= realm::http::manifest_models_max);
  REALM_CHECK(allowance->cpu_ms_max > 0 && allowance->memory_bytes_max > 0);
}
