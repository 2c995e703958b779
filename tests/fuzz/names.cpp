// Names that strangers choose: keys, models, files in parts.
#include "base/check.h"
#include "fuzz/fuzz_target.h"
#include "models/file_name.h"
#include "tenants/key_text.h"

REALM_FUZZ_TARGET(names, bytes) {
  using namespace realm;
  if (const auto key = tenants::parse_key_text(bytes)) REALM_CHECK(key->text() == bytes);
  if (!models::is_model_name(bytes)) return;
  const auto part = models::part_name(bytes);
  REALM_CHECK(part.part >= 1 && part.part <= part.parts);
  REALM_CHECK(models::part_file(part) == std::string(bytes) + ".gguf");
}
