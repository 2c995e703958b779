#include "realm/schema_grammar.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "realm/constraint.h"
#include "realm/gbnf.h"
#include "realm/json_grammar.h"
#include "realm/number_grammar.h"
#include "realm/schema_tree.h"

namespace realm {
namespace {

using Piece = GrammarBuilder::Piece;
using RuleId = GrammarBuilder::RuleId;

#define REALM_DATE                                                                               \
  "(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)" \
  "|02-(?:0[1-9]|1\\d|2[0-8])))"
#define REALM_TIME "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:0\\d|1\\d|2[0-3]):[0-5]\\d)"
#define REALM_BYTE "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define REALM_LABEL "[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?"
constexpr std::pair<const char*, const char*> formats[] = {
    {"date", REALM_DATE},
    {"time", REALM_TIME},
    {"date-time", REALM_DATE "T" REALM_TIME},
    {"uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"},
    {"ipv4", REALM_BYTE "(?:\\." REALM_BYTE "){3}"},
    {"ipv6", "[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){7}"},
    {"email", "[A-Za-z0-9_+-]{1,30}(?:\\.[A-Za-z0-9_+-]{1,30}){0,3}@" REALM_LABEL "(?:\\." REALM_LABEL "){1,3}"},
    {"hostname", REALM_LABEL "(?:\\." REALM_LABEL "){0,5}"},
    {"uri", "https?://" REALM_LABEL "(?:\\." REALM_LABEL "){0,5}(?:/[A-Za-z0-9._~-]{0,40}){0,6}"},
};
#undef REALM_DATE
#undef REALM_TIME
#undef REALM_BYTE
#undef REALM_LABEL

constexpr const char* annotations[] = {"title", "description", "default", "examples", "deprecated", "$comment"};

bool is_false(const common_json& schema) { return schema.is_boolean() && !schema.get<bool>(); }
bool is_true(const common_json& schema) { return schema.is_boolean() && schema.get<bool>(); }

uint32_t count_of(const common_json& schema, const char* keyword, uint32_t otherwise) {
  return schema.contains(keyword) ? static_cast<uint32_t>(schema.at(keyword).get<double>()) : otherwise;
}

// As the answer has it.
std::string written(const common_json& value) {
  std::string text;
  if (value.is_object()) {
    for (const auto& [name, each] : value.items()) text += (text.empty() ? "\"" : ", \"") + escape_json(name) + "\": " + written(each);
    return "{" + text + "}";
  }
  if (!value.is_array()) return value.is_string() ? "\"" + escape_json(value.get<std::string>()) + "\"" : value.dump();
  for (const auto& each : value) text += (text.empty() ? "" : ", ") + written(each);
  return "[" + text + "]";
}

size_t code_points(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

class SchemaTranslator {
 public:
  SchemaTranslator(GrammarBuilder& builder, const common_json& root)
      : builder_(builder), json_(builder, JsonLayout::fixed), tree_(root), root_(root) {}

  RuleId translate() {
    const Piece whole = convert(root_, 0);
    if (!tree_.problem().empty()) builder_.refuse(tree_.problem());
    return builder_.rule(whole);
  }

 private:
  bool sound() const { return builder_.problem().empty() && tree_.problem().empty(); }
  Piece refuse(const std::string& why) {
    builder_.refuse(why);
    return builder_.nothing();
  }

  // A schema that was met before is the same rule; so recursive ones come to an end.
  Piece convert(const common_json& schema, uint32_t nesting) {
    if (!sound()) return builder_.nothing();
    if (nesting > schema_nesting_max) return refuse("it is nested deeper than " + std::to_string(schema_nesting_max));
    common_json flat = tree_.flatten(schema);
    if (is_false(flat)) return builder_.nothing();
    if (flat.is_boolean()) return json_.value();
    for (const char* annotation : annotations) {
      if (flat.contains(annotation)) flat.erase(annotation);
    }
    const auto [entry, is_new] = rules_.try_emplace(flat.dump(), 0);
    if (!is_new) return builder_.call(entry->second);
    if (rules_.size() > schema_places_max) return refuse("it has more than " + std::to_string(schema_places_max) + " places");
    const RuleId rule = entry->second = builder_.add_rule();
    builder_.define(rule, convert_flat(flat, nesting));
    return builder_.call(rule);
  }

  Piece convert_flat(const common_json& flat, uint32_t nesting) {
    if (flat.contains("anyOf")) return alternatives(flat, "anyOf", nesting);
    if (flat.contains("oneOf")) return alternatives(flat, "oneOf", nesting);
    if (flat.contains("enum")) return values(flat);
    std::vector<Piece> choices;
    const std::vector<std::string> types = generated_types(flat);
    for (const std::string& type : types) {
      if (type != "integer" || std::find(types.begin(), types.end(), "number") == types.end())
        choices.push_back(of_type(flat, type, nesting));
    }
    return choices.empty() ? builder_.nothing() : builder_.choice(choices);
  }

  Piece alternatives(const common_json& flat, const char* keyword, uint32_t nesting) {
    common_json base = flat;
    base.erase(keyword);
    std::vector<common_json> schemas;
    for (const auto& alternative : flat.at(keyword)) schemas.push_back(tree_.both(base, tree_.flatten(alternative)));
    const bool one = std::string_view(keyword) == "oneOf";
    std::vector<Piece> choices;
    for (size_t i = 0; i < schemas.size() && sound(); ++i) {
      for (size_t j = 0; one && j < schemas.size(); ++j) {
        if (i == j || tree_.excludes(schemas[i], schemas[j])) continue;
        return refuse(
            "'oneOf' is supported only where the alternatives cannot be mistaken for one another, such as by a constant property, "
            "and alternatives " +
            std::to_string(i) + " and " + std::to_string(j) + " can; use 'anyOf'");
      }
      choices.push_back(convert(schemas[i], nesting + 1));
    }
    return choices.empty() ? builder_.nothing() : builder_.choice(choices);
  }

  Piece of_type(const common_json& flat, const std::string& type, uint32_t nesting) {
    if (type == "object") return object(flat, nesting);
    if (type == "array") return array(flat, nesting);
    if (type == "string") return string(flat);
    if (type == "integer" || type == "number") return number(flat, type == "integer");
    if (type == "boolean") return builder_.choice({json_.text("true"), json_.text("false")});
    return json_.text("null");
  }

  Piece values(const common_json& flat) {
    std::vector<Piece> choices;
    for (const auto& value : flat.at("enum")) {
      if (fulfils(flat, value)) choices.push_back(json_.text(written(value)));
    }
    return choices.empty() ? builder_.nothing() : builder_.choice(choices);
  }

  // Does a listed value fulfil what else is said about it?
  bool fulfils(const common_json& flat, const common_json& value) {
    const auto has = [&](const char* keyword) { return flat.contains(keyword); };
    if (has("type")) {
      const double number = value.is_number() ? value.get<double>() : 0.5;
      const char* type = value.is_object()    ? "object"
                         : value.is_array()   ? "array"
                         : value.is_string()  ? "string"
                         : value.is_boolean() ? "boolean"
                         : value.is_null()    ? "null"
                                              : "number";
      const bool whole = number == std::floor(number);
      if (!holds(flat.at("type"), common_json::make(type)) && !(whole && holds(flat.at("type"), common_json::make("integer"))))
        return false;
    }
    if ((value.is_object() && (has("properties") || has("required") || has("additionalProperties") || has("patternProperties") ||
                               has("propertyNames") || has("minProperties") || has("maxProperties"))) ||
        (value.is_array() && (has("items") || has("prefixItems") || has("minItems") || has("maxItems") || has("uniqueItems")))) {
      refuse("'enum' of objects or arrays together with other keywords about them is not supported");
      return false;
    }
    if (value.is_string()) return text_fulfils(flat, value.get<std::string>());
    if (!value.is_number()) return true;
    const double number = value.get<double>();
    const auto bound = [&](const char* keyword, double otherwise) { return has(keyword) ? flat.at(keyword).get<double>() : otherwise; };
    if (has("multipleOf")) {
      const double quotient = number / bound("multipleOf", 1);
      if (std::abs(quotient - std::round(quotient)) > 1e-9) return false;
    }
    return number >= bound("minimum", -INFINITY) && number <= bound("maximum", INFINITY) &&
           (!has("exclusiveMinimum") || number > bound("exclusiveMinimum", 0)) &&
           (!has("exclusiveMaximum") || number < bound("exclusiveMaximum", 0));
  }

  bool text_fulfils(const common_json& flat, const std::string& text) {
    const size_t length = code_points(text);
    if (length < count_of(flat, "minLength", 0) || length > count_of(flat, "maxLength", UINT32_MAX)) return false;
    return !flat.contains("pattern") || matches(flat.at("pattern").get<std::string>(), text);
  }

  bool matches(const std::string& pattern, const std::string& text) {
    GrammarBuilder builder;
    const RuleId rule = builder.rule(add_pattern(builder, pattern, {.inside_json_string = false, .anywhere = true}));
    const std::optional<Grammar> grammar = builder.build(rule);
    if (!grammar) {
      refuse(builder.problem());
      return false;
    }
    Matcher matcher(*grammar);
    return matcher.advance(text) && matcher.may_end();
  }

  Piece string(const common_json& flat) {
    const uint32_t length_min = count_of(flat, "minLength", 0), length_max = count_of(flat, "maxLength", unlimited);
    if (flat.contains("pattern")) {
      if (flat.contains("minLength") || flat.contains("maxLength"))
        return refuse("'pattern' together with minLength or maxLength is not supported");
      return json_.quoted(add_pattern(builder_, flat.at("pattern").get<std::string>(), {.inside_json_string = true, .anywhere = true}));
    }
    if (flat.contains("format") && flat.at("format").is_string() && length_min == 0 && length_max == unlimited) {
      const std::string name = flat.at("format").get<std::string>();
      const auto* known = std::find_if(std::begin(formats), std::end(formats), [&](const auto& format) { return name == format.first; });
      if (known != std::end(formats)) {
        return json_.quoted(add_pattern(builder_, known->second, {.inside_json_string = true, .anywhere = false}));
      }
    }
    return length_min > length_max ? builder_.nothing() : json_.string_of(length_min, length_max);
  }

  Piece number(const common_json& flat, bool integer) {
    NumberBounds bounds;
    bounds.integer = integer;
    const auto read = [&](const char* keyword) -> std::optional<double> {
      if (!flat.contains(keyword)) return {};
      return flat.at(keyword).get<double>();
    };
    bounds.low = read("minimum");
    bounds.high = read("maximum");
    const std::optional<double> above = read("exclusiveMinimum"), below = read("exclusiveMaximum");
    if (above && (!bounds.low || *above >= *bounds.low)) bounds.low = above, bounds.low_excluded = true;
    if (below && (!bounds.high || *below <= *bounds.high)) bounds.high = below, bounds.high_excluded = true;
    bounds.multiple_of = read("multipleOf");
    if (bounds.low || bounds.high || bounds.multiple_of) return add_number(builder_, bounds);
    return integer ? json_.integer() : json_.number();
  }

  Piece array(const common_json& flat, uint32_t nesting);
  Piece object(const common_json& flat, uint32_t nesting);

  struct Property {
    std::string name;
    common_json schema;
    bool required;
  };
  std::vector<Property> properties_of(const common_json& flat);
  // A property beyond the named ones, if there may be one.
  std::optional<RuleId> further_property(const common_json& flat, const std::vector<Property>& properties, uint32_t nesting);

  GrammarBuilder& builder_;
  JsonGrammar json_;
  SchemaTree tree_;
  const common_json& root_;
  std::map<std::string, RuleId> rules_;  // by flattened schema
};

Piece SchemaTranslator::array(const common_json& flat, uint32_t nesting) {
  const uint32_t count_min = count_of(flat, "minItems", 0);
  uint32_t count_max = count_of(flat, "maxItems", unlimited);
  if (flat.contains("uniqueItems") && flat.at("uniqueItems").get<bool>() && count_max > 1) {
    if (count_min > 1) return refuse("'uniqueItems' together with minItems above 1 is not supported");
    return refuse("'uniqueItems' is not supported");
  }
  const common_json anything = common_json::make(true);
  const common_json rest = flat.contains("items") ? common_json(flat.at("items")) : anything;
  const common_json leading = flat.value("prefixItems", common_json::array());
  if (is_false(rest) || (!leading.empty() && !flat.contains("items"))) {
    count_max = std::min<uint32_t>(count_max, std::max<uint32_t>(static_cast<uint32_t>(leading.size()), is_false(rest) ? 0 : count_min));
  }
  if (count_min > count_max) return builder_.nothing();
  if (leading.empty()) return json_.list(count_max == 0 ? builder_.empty() : convert(rest, nesting + 1), count_min, count_max, "[", "]");
  const Piece items = builder_.empty();
  const uint32_t end = builder_.add_state();
  uint32_t at = items.begin;
  const auto listed = std::min<uint32_t>(static_cast<uint32_t>(leading.size()), count_max);
  for (uint32_t i = 0; i < listed; ++i) {
    if (i >= count_min) builder_.join(at, end);
    Piece item = convert(leading.at(i), nesting + 1);
    if (i > 0) item = builder_.then(json_.comma(), item);
    builder_.join(at, item.begin);
    at = item.end;
  }
  if (count_max > listed) {
    const uint32_t more_min = count_min > listed ? count_min - listed : 0;
    const Piece more = builder_.repeat(builder_.then(json_.comma(), convert(rest, nesting + 1)), more_min,
                                       count_max == unlimited ? unlimited : count_max - listed);
    builder_.join(at, more.begin);
    at = more.end;
  }
  builder_.join(at, end);
  return builder_.then(json_.text("["), builder_.then({items.begin, end}, json_.text("]")));
}

// The named properties and the required ones, each with all that holds for it.
std::vector<SchemaTranslator::Property> SchemaTranslator::properties_of(const common_json& flat) {
  const common_json no_names = common_json::array();
  const common_json required = flat.value("required", no_names);
  std::vector<Property> properties;
  const common_json named = flat.value("properties", common_json::object());
  for (const auto& [name, schema] : named.items()) properties.push_back({name, schema, holds(required, common_json::make(name))});
  const common_json patterns = flat.value("patternProperties", common_json::object());
  for (const auto& each : required) {
    const std::string name = each.get<std::string>();
    if (std::any_of(properties.begin(), properties.end(), [&](const Property& property) { return property.name == name; })) continue;
    bool by_pattern = false;
    for (const auto& [pattern, schema] : patterns.items()) by_pattern = by_pattern || matches(pattern, name);
    const char* rest = flat.contains("additionalProperties") ? "additionalProperties" : "unevaluatedProperties";
    const bool open = by_pattern || !flat.contains(rest);
    properties.push_back({name, open ? common_json::make(true) : common_json(flat.at(rest)), true});
  }
  for (Property& property : properties) {
    for (const auto& [pattern, schema] : patterns.items()) {
      if (matches(pattern, property.name)) property.schema = all_of(property.schema, schema);
    }
  }
  if (flat.contains("propertyNames")) {
    const common_json names = tree_.flatten(flat.at("propertyNames"));
    if (names.is_object() && !properties.empty()) {
      for (const char* keyword : {"anyOf", "oneOf", "format"}) {
        if (names.contains(keyword)) refuse("'propertyNames' with '" + std::string(keyword) + "' beside named properties is not supported");
      }
    }
    for (Property& property : properties) {
      const common_json name = common_json::make(property.name);
      const bool fits =
          names.is_boolean() ? is_true(names) : fulfils(names, name) && (!names.contains("enum") || holds(names.at("enum"), name));
      if (!fits) property.schema = common_json::make(false);
    }
  }
  return properties;
}

std::optional<RuleId> SchemaTranslator::further_property(const common_json& flat, const std::vector<Property>& properties,
                                                         uint32_t nesting) {
  std::vector<std::string> names;
  for (const Property& property : properties) names.push_back(property.name);
  const common_json patterns = flat.value("patternProperties", common_json::object());
  if (!patterns.empty()) {
    // Names that fit several patterns at once, or a pattern and a named property, cannot be told from others.
    if (patterns.size() > 1 || flat.contains("propertyNames")) {
      if (names.empty()) refuse("several 'patternProperties', or 'propertyNames' beside them, are not supported");
      return {};
    }
    const auto entry = *patterns.items().begin();
    if (std::any_of(names.begin(), names.end(), [&](const std::string& name) { return matches(entry.k, name); })) return {};
    const Piece key = json_.quoted(add_pattern(builder_, entry.k, {.inside_json_string = true, .anywhere = true}));
    return builder_.rule(builder_.then(key, builder_.then(json_.colon(), convert(entry.v, nesting + 1))));
  }
  const char* keyword = flat.contains("additionalProperties") ? "additionalProperties" : "unevaluatedProperties";
  if (flat.contains(keyword) ? is_false(flat.at(keyword)) : !names.empty()) return {};
  const common_json schema = flat.contains(keyword) ? common_json(flat.at(keyword)) : common_json::make(true);
  Piece key = {};
  if (flat.contains("propertyNames")) {
    if (!names.empty()) return {};
    common_json text = common_json::object();
    text["type"] = "string";
    key = convert(all_of(text, flat.at("propertyNames")), nesting + 1);
  } else {
    key = json_.key_except(names);
  }
  return builder_.rule(builder_.then(key, builder_.then(json_.colon(), convert(schema, nesting + 1))));
}

// States by how many of the named properties were passed and how many are written. A count beyond what matters is not counted.
Piece SchemaTranslator::object(const common_json& flat, uint32_t nesting) {
  const uint32_t count_min = count_of(flat, "minProperties", 0), count_max = count_of(flat, "maxProperties", unlimited);
  if (count_min > counted_properties_max || (count_max != unlimited && count_max > counted_properties_max)) {
    return refuse("minProperties or maxProperties above " + std::to_string(counted_properties_max) + " is not supported");
  }
  if (count_min > count_max) return builder_.nothing();
  const std::vector<Property> properties = properties_of(flat);
  const std::optional<RuleId> further = further_property(flat, properties, nesting);
  const uint32_t counts = count_max != unlimited ? count_max : std::max(count_min, 1u);
  const auto after = [&](uint32_t count) { return count < counts ? count + 1 : count_max == unlimited ? counts : UINT32_MAX; };
  const auto states = [&] {
    std::vector<uint32_t> row;
    for (uint32_t count = 0; count <= counts; ++count) row.push_back(builder_.add_state());
    return row;
  };
  const auto join = [&](uint32_t from, bool is_first, RuleId rule, uint32_t to) {
    if (is_first) return builder_.join_call(from, rule, to);
    const Piece comma = json_.comma();
    builder_.join(from, comma.begin);
    builder_.join_call(comma.end, rule, to);
  };
  std::vector<uint32_t> at = states();
  const uint32_t begin = at[0], end = builder_.add_state();
  for (const Property& property : properties) {
    if (!sound()) return builder_.nothing();
    const Piece key = json_.text("\"" + escape_json(property.name) + "\": ");
    const RuleId member = builder_.rule(builder_.then(key, convert(property.schema, nesting + 1)));
    const std::vector<uint32_t> next = states();
    for (uint32_t count = 0; count <= counts; ++count) {
      if (!property.required) builder_.join(at[count], next[count]);
      if (after(count) != UINT32_MAX) join(at[count], count == 0, member, next[after(count)]);
    }
    at = next;
  }
  // Two further properties may have the same name, so only the first one counts towards the least.
  const std::vector<uint32_t> more = states();
  for (uint32_t count = 0; count <= counts; ++count) {
    if (count >= count_min) builder_.join(at[count], end);
    if (!further || after(count) == UINT32_MAX) continue;
    if (count + 1 >= count_min) join(at[count], count == 0, *further, more[after(count)]);
    if (count > 0) join(more[count], false, *further, more[after(count)]);
  }
  for (uint32_t count = 1; count <= counts; ++count) builder_.join(more[count], end);
  return builder_.then(json_.text("{"), builder_.then({begin, end}, json_.text("}")));
}

}  // namespace

RuleId add_schema(GrammarBuilder& builder, const common_json& schema) { return SchemaTranslator(builder, schema).translate(); }

}  // namespace realm
