// JSON Schema to grammar.
//
// The grammar allows a part of what the schema does, never more: fixed white space, properties in the order in which the schema names
// them, and properties beyond the named ones only where additionalProperties asks for them. What cannot be held to is refused by name;
// docs/structured_output.md lists it.
#pragma once

#include "json.h"
#include "realm/grammar.h"

namespace realm {

constexpr uint32_t schema_places_max = 20'000;      // schemas that are translated, after references and alternatives were followed
constexpr uint32_t counted_properties_max = 1'000;  // largest minProperties and maxProperties

GrammarBuilder::RuleId add_schema(GrammarBuilder& builder, const common_json& schema);

}  // namespace realm
