#include "realm/constraint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>

#include "realm/answer_shape.h"

namespace realm {
namespace {

enum Kind { schema, gbnf, regex };

std::unique_ptr<Constraint> make(Kind kind, const std::string& source, std::string& problem) {
  if (kind == schema) return Constraint::from_schema(common_json::parse(source), problem);
  return kind == gbnf ? Constraint::from_gbnf(source, problem) : Constraint::from_regex(source, problem);
}

bool matches(Constraint& constraint, const std::string& text) {
  Matcher matcher = constraint.matcher();
  return matcher.advance(text) && matcher.may_end();
}

void expect(Kind kind, const std::string& source, const std::vector<std::string>& good, const std::vector<std::string>& bad) {
  std::string problem;
  const auto constraint = make(kind, source, problem);
  ASSERT_NE(constraint, nullptr) << source << ": " << problem;
  for (const std::string& text : good) EXPECT_TRUE(matches(*constraint, text)) << source << " should match " << text;
  for (const std::string& text : bad) EXPECT_FALSE(matches(*constraint, text)) << source << " should not match " << text;
}

std::string problem_of(Kind kind, const std::string& source) {
  std::string problem;
  EXPECT_EQ(make(kind, source, problem), nullptr) << source;
  return problem;
}

TEST(Constraint, GbnfIsReadAsLlamaCppReadsIt) {
  expect(gbnf, "root ::= \"a\" x* # comment\nx ::= [b-d] |\n  \"(\" x \")\"", {"a", "abcd", "a((b))c"}, {"", "ae", "a((b)", "b"});
  expect(gbnf, "root ::= [^0-9\\n]{2,3} \"\\x41\" .?", {"xyA", "xyzA!", "éüAß"}, {"xA", "x1A", "wxyzA"});
  expect(gbnf, "root ::= ( \"yes\" | \"no\" )+ \"\\u00e9\"", {"yesé", "noyesé"}, {"é", "yes"});
  expect(gbnf, "root ::= x\nx ::= \"(\" x \")\" | \"\"", {"", "()", "((()))"}, {"(", "(()"});
}

TEST(Constraint, WhatIsWrongWithAGrammarIsNamed) {
  EXPECT_EQ(problem_of(gbnf, "root ::= thing"), "the rule 'thing' is used but not defined (line 1)");
  EXPECT_EQ(problem_of(gbnf, "start ::= \"a\""), "there is no rule 'root' (line 1)");
  EXPECT_EQ(problem_of(gbnf, "root ::= root \"a\" | \"b\""),
            "it is left-recursive: a rule comes back to itself before it has matched anything");
  EXPECT_EQ(problem_of(gbnf, "root ::= \"a\" root"), "it matches no text at all");
  EXPECT_NE(problem_of(gbnf, "root ::= \"a"), "");
  EXPECT_NE(problem_of(gbnf, "root ::= [a-"), "");
  EXPECT_NE(problem_of(gbnf, "root ::= (\"a\""), "");
  EXPECT_NE(problem_of(gbnf, "root = \"a\""), "");
  EXPECT_NE(problem_of(gbnf, "root ::= \"a\"{5,2}"), "");
  EXPECT_NE(problem_of(gbnf, std::string("root ::= ") + std::string(100'000, '(')), "") << "nesting has a limit";
}

TEST(Constraint, RegexMatchesWhatStandardRegexMatches) {
  const std::vector<std::string> patterns = {"(foo|bar)+[0-9]{2,3}", "a.c",    "[^abc]+x?",    "\\d{3}-\\w+\\s\\S",
                                             "(?:ab){2,}",           "a*?b+?", "^a|b$",        "",
                                             "[\\w.-]+@b",           "a{0}b",  "[a\\-z]{1,2}", "x(|y)z"};
  const std::string letters = "abcfoxyz019-_.@ r";
  uint32_t random = 7;
  for (const std::string& pattern : patterns) {
    std::string problem;
    const auto constraint = Constraint::from_regex(pattern, problem);
    ASSERT_NE(constraint, nullptr) << pattern << ": " << problem;
    const std::regex standard(pattern);
    std::vector<std::string> texts = {"foobar12", "foo123", "abc", "ab", "abab",    "123-ab_ x", "aaab",
                                      "xyz",      "xz",     "a-",  "b",  "x.y-z@b", "ddx"};
    for (int round = 0; round < 300; ++round) {
      std::string text;
      for (uint32_t length = random % 8; text.size() < length; random = random * 1664525 + 1013904223)
        text += letters[(random >> 16) % letters.size()];
      random = random * 1664525 + 1013904223;
      texts.push_back(text);
    }
    for (const std::string& text : texts)
      EXPECT_EQ(matches(*constraint, text), std::regex_match(text, standard)) << pattern << " on " << text;
  }
}

TEST(Constraint, UnsupportedSyntaxOfARegexIsNamed) {
  EXPECT_NE(problem_of(regex, "(?=a)b").find("look-around"), std::string::npos);
  EXPECT_NE(problem_of(regex, "(a)\\1").find("\\1"), std::string::npos);
  EXPECT_NE(problem_of(regex, "\\bword").find("\\b"), std::string::npos);
  EXPECT_NE(problem_of(regex, "\\p{L}").find("\\p"), std::string::npos);
  EXPECT_NE(problem_of(regex, "(a"), "");
  EXPECT_NE(problem_of(regex, "a)"), "");
  EXPECT_NE(problem_of(regex, "[a"), "");
  EXPECT_NE(problem_of(regex, "*a"), "");
  EXPECT_NE(problem_of(regex, "a{30000}"), "");
  EXPECT_NE(problem_of(regex, std::string(100'000, '(')), "");
}

TEST(Constraint, AnyJsonObjectIsAccepted) {
  const auto constraint = Constraint::any_json_object();
  for (const char* text :
       {"{}", "{ \"a\" :1}", "{\"a\": [1, -2.5e+3, true, null, {\"b\": \"\\u00e9\\n\xC3\xA9\"}]}", "{\n  \"a\": {}\n}"}) {
    EXPECT_TRUE(matches(*constraint, text)) << text;
  }
  for (const char* text : {"", "[]", "1", "{\"a\"}", "{\"a\": 01}", "{\"a\": \"\n\"}", "{\"a\": 1,}", "{\"a\": \"\\ud800\"}", "{} "}) {
    EXPECT_FALSE(matches(*constraint, text)) << text;
  }
}

TEST(Constraint, ObjectsHaveTheirPropertiesInOrder) {
  const std::string source =
      R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}, "c": {"type": "null"}},
                                 "required": ["b"]})";
  expect(schema, source, {R"({"a": 1, "b": true, "c": null})", R"({"b": false})", R"({"b": true, "c": null})", R"({"a": -5, "b": true})"},
         {"{}", R"({"b": true, "a": 1})", R"({"a": 1})", R"({"a": 1, "b": true, "d": 1})", R"({"a": 1.5, "b": true})", R"({"b": true, })"});
  expect(schema, R"({"type": "object", "properties": {"ab": {"type": "null"}}, "additionalProperties": {"type": "integer"}})",
         {"{}", R"({"ab": null, "a": 1, "abc": 2})", R"({"b": 1})", R"({"": 1})"},
         {R"({"ab": 1})", R"({"a": null})", R"({"ab": null, "ab": 1})"});
  expect(schema,
         R"({"type": "object", "minProperties": 2, "maxProperties": 2,
          "properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}}})",
         {R"({"a": 1, "b": 2})", R"({"b": 2, "c": 3})", R"({"a": 1, "c": 3})"}, {"{}", R"({"a": 1})", R"({"a": 1, "b": 2, "c": 3})"});
  expect(schema, R"({"patternProperties": {"^x[0-9]$": {"type": "integer"}}, "required": ["x1"]})", {R"({"x1": 4})"},
         {"{}", R"({"x1": "a"})"});
}

TEST(Constraint, NumbersKeepTheirBounds) {
  const auto check = [](const std::string& source, double low, double high, bool integer) {
    std::string problem;
    const auto constraint = make(schema, source, problem);
    ASSERT_NE(constraint, nullptr) << problem;
    for (int i = -13'000; i <= 13'000; ++i) {
      const bool inside = i >= low && i <= high;
      EXPECT_EQ(matches(*constraint, std::to_string(i)), inside) << source << " on " << i;
    }
    for (const double value : {low - 0.25, low + 0.25, high - 0.25, high + 0.25, 0.5, -0.5, 99.75}) {
      std::string text = std::to_string(value);
      text.erase(text.find_last_not_of('0') + 1);
      const bool inside = value >= low && value <= high && !integer;
      EXPECT_EQ(matches(*constraint, text), inside) << source << " on " << text;
    }
  };
  check(R"({"type": "integer", "minimum": 0, "maximum": 150})", 0, 150, true);
  check(R"({"type": "integer", "minimum": -42, "maximum": 12345})", -42, 12345, true);
  check(R"({"type": "integer", "exclusiveMinimum": -1000, "exclusiveMaximum": -7})", -999, -8, true);
  check(R"({"type": "integer", "minimum": 9999})", 9999, 1e15, true);
  check(R"({"type": "number", "minimum": -3, "maximum": 107})", -3, 107, false);
  expect(schema, R"({"type": "number", "minimum": 0.5, "exclusiveMaximum": 2.5})", {"0.5", "0.51", "1.0", "2.4", "2.4999"},
         {"0", "0.4", "0.499", "2.5", "2.50", "2.51", "3", "-1.0"});
  expect(schema, R"({"type": "number", "exclusiveMinimum": 0, "maximum": 1})", {"1", "0.001", "0.5"}, {"0", "0.0", "1.1", "-0.5"});
  expect(schema, R"({"type": "integer", "multipleOf": 7})", {"0", "7", "-14", "693"}, {"1", "13", "692"});
  expect(schema, R"({"type": "number", "multipleOf": 0.01})", {"0.01", "3.25"}, {"0.001", "3.255"});
  EXPECT_NE(problem_of(schema, R"({"type": "integer", "minimum": 5, "maximum": 4})"), "");
}

TEST(Constraint, StringsKeepLengthPatternAndFormat) {
  expect(schema, R"({"type": "string", "minLength": 2, "maxLength": 3})", {"\"ab\"", "\"\xC3\xA9\xC3\xA9\xC3\xA9\"", R"("a\n\"")"},
         {"\"a\"", "\"abcd\"", "ab"});
  expect(schema, R"({"type": "string", "pattern": "^[A-Z]{2}\\d$"})", {"\"AB1\""}, {"\"ab1\"", "\"AB12\"", "\"xAB1\""});
  expect(schema, R"({"type": "string", "pattern": "b+"})", {"\"abc\"", "\"b\""}, {"\"ac\""});
  expect(schema, R"({"type": "string", "pattern": "^a\"b$"})", {R"("a\"b")"}, {R"("a"b")"});
  expect(schema, R"({"type": "string", "format": "date"})", {"\"2024-02-28\""}, {"\"2024-02-30\"", "\"2024-13-01\"", "\"24-01-01\""});
  expect(schema, R"({"type": "string", "format": "of-our-own"})", {"\"anything\""}, {"1"});
}

TEST(Constraint, AlternativesReferencesAndConjunctions) {
  expect(schema, R"({"anyOf": [{"type": "string", "maxLength": 1}, {"type": "integer"}]})", {"\"a\"", "1"}, {"\"ab\"", "true"});
  expect(schema, R"({"enum": ["a", 1, null, {"x": [1]}]})", {"\"a\"", "1", "null", "{\"x\": [1]}"}, {"\"b\"", "2"});
  expect(schema, R"({"enum": ["a", 1, "bb"], "type": "string", "minLength": 2})", {"\"bb\""}, {"\"a\"", "1"});
  expect(
      schema,
      R"({"allOf": [{"properties": {"a": {"minimum": 3}}}, {"properties": {"a": {"type": "integer", "maximum": 5}}, "required": ["a"]}]})",
      {"{\"a\": 3}", "{\"a\": 5}"}, {"{}", "{\"a\": 2}", "{\"a\": 6}"});
  expect(schema,
         R"({"$ref": "#/$defs/list", "$defs": {"list": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/list"},
                     {"type": "null"}]}}, "required": ["next"]}}})",
         {"{\"next\": null}", "{\"next\": {\"next\": {\"next\": null}}}"}, {"{}", "{\"next\": {}}"});
  expect(schema,
         R"({"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind", "x"]},
                     {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]}]})",
         {"{\"kind\": \"a\", \"x\": 1}", "{\"kind\": \"b\"}"}, {"{\"kind\": \"a\"}", "{\"kind\": \"b\", \"x\": 1}"});
  expect(
      schema,
      R"({"type": ["array", "null"], "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {"type": "null"}, "minItems": 1})",
      {"null", "[1]", "[1, \"a\"]", "[1, \"a\", null, null]"}, {"[]", "[\"a\"]", "[1, \"a\", 2]"});
  expect(schema, R"({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3})", {"[1, 2]", "[1, 2, 3]"},
         {"[1]", "[1, 2, 3, 4]", "[1,2]"});
  expect(schema, "true", {"{}", "[1, \"a\", {\"b\": null}]"}, {"", "nul"});
}

TEST(Constraint, WhatASchemaCannotHaveIsNamed) {
  EXPECT_NE(problem_of(schema, R"({"not": {"type": "string"}})").find("'not'"), std::string::npos);
  EXPECT_NE(problem_of(schema, R"({"properties": {"a": {"if": {}}}})").find("'if'"), std::string::npos);
  EXPECT_NE(problem_of(schema, R"({"type": 5})").find("'type'"), std::string::npos);
  EXPECT_NE(problem_of(schema, R"({"type": "strnig"})").find("'type'"), std::string::npos);
  EXPECT_NE(problem_of(schema, R"({"required": [1]})").find("'required'"), std::string::npos);
  EXPECT_NE(problem_of(schema, R"({"$ref": "#/nowhere"})").find("leads nowhere"), std::string::npos);
  EXPECT_NE(problem_of(schema, R"({"$ref": "https://example.org/schema"})").find("not a pointer"), std::string::npos);
  EXPECT_NE(problem_of(schema, R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})").find("'oneOf'"), std::string::npos);
  EXPECT_NE(problem_of(schema, R"x({"pattern": "(?!a)"})x").find("look-around"), std::string::npos);
  EXPECT_NE(problem_of(schema, R"({"$ref": "#"})"), "");
  EXPECT_NE(problem_of(schema, R"({"allOf": [{"$ref": "#"}]})"), "");
  EXPECT_NE(problem_of(schema, R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})"), "")
      << "it has no finite value";
  EXPECT_NE(problem_of(schema, "false"), "");
}

TEST(Constraint, SchemasThatGrowWithoutEndAreRefused) {
  EXPECT_NE(problem_of(schema, R"({"type": "string", "minLength": 1000000})"), "");
  EXPECT_NE(problem_of(schema, R"({"type": "string", "title": ")" + std::string(300'000, 'x') + "\"}"), "");
}

TEST(Constraint, TextWithoutAChoiceIsForced) {
  std::string problem;
  const auto constraint =
      make(schema, R"({"type": "object", "properties": {"name": {"type": "string"}, "ok": {"const": true}}, "required": ["name", "ok"]})",
           problem);
  ASSERT_NE(constraint, nullptr) << problem;
  EXPECT_EQ(constraint->forced_text(), "{\"name\": \"");
  EXPECT_TRUE(constraint->matcher().advance("{\"name\": \"J\""));
  EXPECT_EQ(constraint->forced_text(), ", \"ok\": true}");
  EXPECT_FALSE(constraint->matcher().must_end());
  EXPECT_TRUE(constraint->matcher().advance(", \"ok\": true}"));
  EXPECT_TRUE(constraint->matcher().must_end());
  const auto half = make(regex, "[\xD0\xB0-\xD0\xB3]x", problem);  // the first byte is certain, the character is not
  EXPECT_EQ(half->forced_text(), "");
}

// The vocabulary as model_vocabulary gives it.
std::vector<uint8_t> front_coded(std::vector<std::pair<std::string, uint32_t>> texts) {
  std::sort(texts.begin(), texts.end());
  std::vector<uint8_t> bytes;
  std::string before;
  for (const auto& [text, id] : texts) {
    const auto differs = std::mismatch(text.begin(), text.end(), before.begin(), before.end()).first;
    const auto shared = static_cast<size_t>(differs - text.begin());
    for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<uint8_t>(id >> (8 * i)));
    bytes.push_back(static_cast<uint8_t>(shared));
    bytes.push_back(static_cast<uint8_t>(text.size() - shared));
    bytes.insert(bytes.end(), text.begin() + static_cast<ptrdiff_t>(shared), text.end());
    before = text;
  }
  return bytes;
}

TEST(Constraint, TheMaskIsWhatEachTokenByItselfSays) {
  const std::vector<std::string> words = {"{",  "}",       "\"",        "{\"",  "\"}",  "a",        "ab",  "abc",  "b",
                                          ": ", "\": ",    ", ",        "1",    "12",   "15",       "150", "9",    "-",
                                          ".",  "\"a\": ", "{\"a\": 1", "\xC3", "\xA9", "\xC3\xA9", " ",   "true", "t"};
  std::vector<std::pair<std::string, uint32_t>> texts;
  for (uint32_t i = 0; i < words.size(); ++i) texts.emplace_back(words[i], i);
  const std::vector<uint8_t> vocabulary = front_coded(texts);
  std::string problem;
  const auto constraint =
      make(schema, R"({"type": "object", "properties": {"a": {"type": "integer", "minimum": 1, "maximum": 150}}, "required": ["a"],
                                          "additionalProperties": {"type": ["string", "boolean"]}})",
           problem);
  ASSERT_NE(constraint, nullptr) << problem;
  Matcher& matcher = constraint->matcher();
  for (const char* next : {"", "{", "\"a\": ", "15", ", \"", "ab\xC3", "\xA9", "\": ", "\"x", "\"", "}"}) {
    ASSERT_TRUE(matcher.advance(next)) << next;
    const std::vector<uint8_t> mask = matcher.allowed_tokens(vocabulary, static_cast<uint32_t>(words.size()));
    for (size_t i = 0; i < words.size(); ++i)
      EXPECT_EQ(mask[i / 8] >> (i % 8) & 1, matcher.accepts(words[i]) ? 1 : 0) << words[i] << " after " << next;
  }
  EXPECT_TRUE(matcher.must_end());
}

TEST(Constraint, ForgettingWhatWasRememberedChangesNothing) {
  std::string problem;
  // Every byte of a long answer is a set of its own.
  const auto constraint = Constraint::from_gbnf("root ::= ([a-z]{0,20000} \" \")*", problem);
  ASSERT_NE(constraint, nullptr) << problem;
  for (int i = 0; i < 30; ++i) {
    for (int j = 0; j < 19'000; ++j) ASSERT_TRUE(constraint->matcher().advance("q"));
    ASSERT_TRUE(constraint->matcher().accepts(" "));
    ASSERT_TRUE(constraint->matcher().advance(" "));
  }
  EXPECT_TRUE(constraint->matcher().may_end());
}

TEST(Constraint, DepthHasALimitAndTheAnswerCanStillEnd) {
  std::string problem;
  const auto constraint = Constraint::from_gbnf("root ::= x\nx ::= \"(\" x \")\" \".\" | \"-\"", problem);
  ASSERT_NE(constraint, nullptr) << problem;
  Matcher& matcher = constraint->matcher();
  uint32_t depth = 0;
  while (depth < 10'000 && matcher.advance("(")) ++depth;
  EXPECT_LE(depth, grammar_depth_max + 1);
  ASSERT_TRUE(matcher.advance("-"));
  for (uint32_t i = 0; i < depth; ++i) ASSERT_TRUE(matcher.advance(")."));
  EXPECT_TRUE(matcher.must_end() && matcher.may_end());
}

TEST(AnswerShape, OneFormAtMostAndEachProblemNamesItsField) {
  const auto read = [](const std::string& request) {
    AnswerShape shape;
    return read_answer_shape(common_json::parse(request), shape).value_or("");
  };
  EXPECT_EQ(read("{}"), "");
  EXPECT_EQ(read(R"({"response_format": {"type": "text"}, "regex": "a"})"), "");
  EXPECT_EQ(read(R"({"response_format": {"type": "json_object"}, "regex": "a"})"),
            "regex: the answer already has its form from response_format");
  EXPECT_EQ(read(R"({"response_format": "json"})"), "response_format: must be an object");
  EXPECT_NE(read(R"({"response_format": {"type": "yaml"}})").find("response_format: type must be"), std::string::npos);
  EXPECT_EQ(read(R"({"response_format": {"type": "json_schema"}})"), "response_format.json_schema: must be an object");
  EXPECT_EQ(read(R"({"grammar": 5})"), "grammar: must be a string");
  EXPECT_EQ(read(R"({"guided_regex": ""})"), "guided_regex: must not be empty");
  AnswerShape shape;
  shape.kind = AnswerShape::Kind::json_schema;
  shape.field = "response_format.json_schema.schema";
  shape.schema = common_json::parse(R"({"not": {}})");
  std::string problem;
  EXPECT_EQ(make_constraint(shape, problem), nullptr);
  EXPECT_EQ(problem, "response_format.json_schema.schema: 'not' is not supported");
}

}  // namespace
}  // namespace realm
