// A JSON Schema as a tree whose references and conjunctions are resolved on the way down.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "json.h"

namespace realm {

constexpr uint32_t schema_nesting_max = 64;
constexpr uint32_t schema_merges_max = 20'000;
constexpr uint32_t schema_alternatives_max = 256;  // of one place, after several anyOf of it were multiplied

class SchemaTree {
 public:
  // The root outlives this.
  explicit SchemaTree(const common_json& root) : root_(root) {}

  // The schema that a local reference ("#", "#/$defs/name") names; null when there is none, and problem() says so.
  const common_json* resolve(const std::string& reference);

  // One schema without $ref and allOf that says the same as `schema`: true, false, or an object in which `type` and `enum` are arrays,
  // bounds are numbers, and tuples are in prefixItems. Subschemas are left as they are.
  common_json flatten(const common_json& schema) { return flatten(schema, 0); }
  // What fulfils both, of two that are flattened.
  common_json both(const common_json& a, const common_json& b);

  // Certainly no value that is generated for `made` fulfils `other`; both are flattened.
  bool excludes(const common_json& made, const common_json& other) { return excludes(made, other, 0); }

  void refuse(std::string why) {
    if (problem_.empty()) problem_ = std::move(why);
  }
  const std::string& problem() const { return problem_; }

 private:
  common_json flatten(const common_json& schema, uint32_t nesting);
  bool excludes(const common_json& made, const common_json& other, uint32_t nesting);
  bool excludes_objects(const common_json& made, const common_json& other, uint32_t nesting);
  void merge_keyword(common_json& into, const std::string& keyword, const common_json& value);
  void merge_objects(common_json& into, const common_json& other);
  void merge_arrays(common_json& into, const common_json& other);

  const common_json& root_;
  uint32_t merges_ = 0;
  std::string problem_;
};

bool same(const common_json& a, const common_json& b);
bool holds(const common_json& array, const common_json& value);
// Of a flattened schema: the types that a value is generated of.
std::vector<std::string> generated_types(const common_json& schema);
// {"allOf": [a, b]}, to be flattened when it is used.
common_json all_of(const common_json& a, const common_json& b);

}  // namespace realm
