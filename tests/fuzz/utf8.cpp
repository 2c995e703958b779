// Bytes of tokens, held back until they are whole characters.
#include "base/utf8.h"

#include "base/check.h"
#include "fuzz/fuzz_choices.h"
#include "fuzz/fuzz_target.h"
#include "realm/utf8_assembler.h"

REALM_FUZZ_TARGET(utf8, bytes) {
  using namespace realm;
  Utf8Assembler whole, cut;
  std::string at_once, in_pieces;
  whole.add(bytes, at_once);
  whole.flush(at_once);
  fuzz::Choices choices(bytes);
  fuzz::in_pieces(bytes, choices, [&](std::string_view piece) { cut.add(piece, in_pieces); });
  cut.flush(in_pieces);
  REALM_CHECK(at_once == in_pieces);
  REALM_CHECK(valid_utf8_prefix(at_once) == at_once.size());
  if (valid_utf8_prefix(bytes) == bytes.size()) REALM_CHECK(at_once == bytes);
  const std::string of_host = valid_utf8(bytes);
  REALM_CHECK(valid_utf8_prefix(of_host) == of_host.size());
}
