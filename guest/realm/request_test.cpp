#include "realm/request.h"

#include <gtest/gtest.h>

namespace realm {
namespace {

std::string error_of(const std::string& text) {
  Request request;
  const auto bad = parse_request(text, request);
  return bad ? bad->message : "";
}

// A chat request with one more field.
std::string with(const std::string& field) { return R"({"messages": [{"role": "user", "content": "hi"}], )" + field + "}"; }

TEST(Request, FieldsAreRead) {
  Request request;
  const auto bad = parse_request(with(R"("model": "m", "max_tokens": 7, "temperature": 0.5, "top_k": 3, "top_p": 0.9, "min_p": 0.1,
    "typical_p": 0.8, "repeat_penalty": 1.1, "repeat_last_n": -1, "frequency_penalty": 0.2, "presence_penalty": -0.2, "seed": 9,
    "stop": ["a", "b"], "logit_bias": {"5": 1.5, "6": -2}, "ignore_eos": true, "unknown": {"x": 1})"),
                                 request);
  ASSERT_FALSE(bad) << bad->message;
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(request.max_tokens, 7u);
  EXPECT_FLOAT_EQ(request.temperature, 0.5f);
  EXPECT_EQ(request.top_k, 3);
  EXPECT_EQ(request.repeat_last_n, -1);
  EXPECT_FLOAT_EQ(request.presence_penalty, -0.2f);
  EXPECT_EQ(request.seed, 9u);
  EXPECT_EQ(request.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(request.logit_bias, (std::vector<std::pair<int32_t, float>>{{5, 1.5f}, {6, -2.f}}));
  EXPECT_TRUE(request.ignore_eos);
}

TEST(Request, NullIsAbsent) { EXPECT_EQ(error_of(with(R"("temperature": null, "stop": null, "seed": null, "model": null)")), ""); }

TEST(Request, TextPartsBecomeOneText) {
  Request request;
  EXPECT_FALSE(parse_request(
      R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]})", request));
  EXPECT_EQ(request.messages.at(0).at("content").get<std::string>(), "a\nb");
}

TEST(Request, AWrongFieldIsNamed) {
  const std::pair<const char*, const char*> cases[] = {{R"("temperature": "hot")", "temperature"},
                                                       {R"("temperature": -1)", "temperature"},
                                                       {R"("temperature": 101)", "temperature"},
                                                       {R"("top_p": -0.1)", "top_p"},
                                                       {R"("top_p": 1.1)", "top_p"},
                                                       {R"("top_k": -2)", "top_k"},
                                                       {R"("top_k": 1.5)", "top_k"},
                                                       {R"("max_tokens": 0)", "max_tokens"},
                                                       {R"("max_tokens": 1e30)", "max_tokens"},
                                                       {R"("min_p": 2)", "min_p"},
                                                       {R"("typical_p": 0)", "typical_p"},
                                                       {R"("repeat_penalty": 0)", "repeat_penalty"},
                                                       {R"("seed": 1.5)", "seed"},
                                                       {R"("seed": "x")", "seed"},
                                                       {R"("stop": 5)", "stop"},
                                                       {R"("stop": [1])", "stop"},
                                                       {R"("stop": "")", "stop"},
                                                       {R"("logit_bias": 1)", "logit_bias"},
                                                       {R"("logit_bias": {"x": 1})", "logit_bias"},
                                                       {R"("logit_bias": {"-1": 1})", "logit_bias"},
                                                       {R"("logit_bias": [[1, 1e10]])", "logit_bias"},
                                                       {R"("ignore_eos": 1)", "ignore_eos"},
                                                       {R"("model": 1)", "model"},
                                                       {R"("tools": {})", "tools"},
                                                       {R"("prompt": "both")", "messages"}};
  for (const auto& [field, name] : cases) EXPECT_TRUE(error_of(with(field)).starts_with(name)) << field << ": " << error_of(with(field));
}

TEST(Request, WrongMessagesAreNamed) {
  EXPECT_TRUE(error_of(R"({"messages": 1})").starts_with("messages"));
  EXPECT_TRUE(error_of(R"({"messages": []})").starts_with("messages"));
  EXPECT_TRUE(error_of(R"({"messages": [1]})").starts_with("messages[0]"));
  EXPECT_TRUE(error_of(R"({"messages": [{"content": "x"}]})").starts_with("messages[0].role"));
  EXPECT_TRUE(error_of(R"({"messages": [{"role": 5, "content": "x"}]})").starts_with("messages[0].role"));
  EXPECT_TRUE(error_of(R"({"messages": [{"role": "user"}]})").starts_with("messages[0].content"));
  EXPECT_TRUE(error_of(R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})").starts_with("messages[0].content"));
  EXPECT_TRUE(error_of(R"({})").starts_with("messages"));
  EXPECT_TRUE(error_of(R"({"prompt": ""})").starts_with("prompt"));
}

TEST(Request, WhatIsNotJsonIsRefused) {
  EXPECT_NE(error_of("").find("JSON"), std::string::npos);
  EXPECT_NE(error_of("{").find("JSON"), std::string::npos);
  EXPECT_NE(error_of("[]").find("object"), std::string::npos);
  EXPECT_NE(error_of("{\"prompt\": \"\xff\"}").find("UTF-8"), std::string::npos);
  EXPECT_NE(error_of(R"({"temperature": NaN, "prompt": "x"})").find("JSON"), std::string::npos);
  EXPECT_NE(error_of(std::string(100'000, '[')).find("deeper"), std::string::npos);
}

}  // namespace
}  // namespace realm
