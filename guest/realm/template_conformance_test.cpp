// Every chat template of llama.cpp's collection, rendered inside realm.wasm and by the native build of the same engine.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>

#include "jinja/lexer.h"
#include "jinja/parser.h"
#include "jinja/runtime.h"
#include "json.h"
#include "runtime/runtime.h"

namespace realm {
namespace {

struct Rendered {
  bool raised = false;
  std::string text;  // or the message
  bool operator==(const Rendered& other) const { return raised == other.raised && (raised || text == other.text); }
};

// `conversation` is {"messages": [...], "tools": [...]}, the latter optional.
Rendered render_natively(const std::string& source, const common_json& conversation) {
  try {
    common_json variables = conversation;
    variables["bos_token"] = "<s>";
    variables["eos_token"] = "</s>";
    variables["enable_thinking"] = true;
    variables["add_generation_prompt"] = true;
    jinja::lexer lexer;
    const auto tokens = lexer.tokenize(source);
    auto program = jinja::parse_from_tokens(tokens);
    jinja::context context(tokens.source);
    jinja::global_from_json(context, variables, false);
    jinja::runtime runtime(context);
    return {false, jinja::runtime::gather_string_parts(runtime.execute(program))->as_string().str()};
  } catch (const std::exception& e) {
    return {true, e.what()};
  }
}

class Listener : public runtime::GenerationListener {
 public:
  runtime::EmitResult on_text(std::string_view text) override {
    rendered_.text += text;
    return runtime::EmitResult::accepted;
  }
  runtime::EmitResult on_summary(std::string_view) override { return runtime::EmitResult::accepted; }
  void on_end(Result<void> result, const runtime::GenerationStats&) override {
    std::lock_guard lock(mutex_);
    if (!result) rendered_ = {true, result.error().message};
    ended_ = true;
    changed_.notify_all();
  }
  Rendered wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_; });
    return rendered_;
  }

 private:
  Rendered rendered_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
};

// One runtime for all tests, since starting one compiles the program.
class TemplateConformance : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    setenv("TZ", "UTC", 1);  // the sandbox knows no other
    const char* folder = std::getenv("REALM_TEMPLATES");
    ASSERT_NE(folder, nullptr) << "set REALM_TEMPLATES to the folder that tools/fetch_templates.py prints";
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() != ".jinja") continue;  // cases of structured output lie there too
      std::ifstream in(entry.path());
      templates_.emplace_back(entry.path().filename(), std::string((std::istreambuf_iterator<char>(in)), {}));
    }
    const char* program = std::getenv("REALM_PROGRAM");
    ASSERT_NE(program, nullptr) << "set REALM_PROGRAM to realm.wasm";
    runtime::RuntimeOptions options;
    options.compute_threads = 1;
    options.program = program;
    auto runtime = runtime::Runtime::create(options);
    ASSERT_TRUE(runtime) << runtime.error().message;
    runtime_ = std::move(*runtime);
    realm_ = runtime_->create_realm("templates", {}).value();
  }
  static void TearDownTestSuite() {
    realm_ = {};
    runtime_.reset();
  }
  void SetUp() override { ASSERT_TRUE(realm_) << "the runtime did not start"; }

  Rendered render_in_sandbox(const std::string& source, const common_json& conversation, bool adapt) {
    common_json request = conversation;
    request["template"] = source;
    request["bos_token"] = "<s>";
    request["eos_token"] = "</s>";
    request["adapt"] = adapt;
    Listener listener;
    auto started = runtime_->generate(realm_, {.body = request.dump(), .entry = "render"}, listener);
    EXPECT_TRUE(started) << started.error().message;
    return listener.wait();
  }

  static inline std::vector<std::pair<std::string, std::string>> templates_;
  static inline std::unique_ptr<runtime::Runtime> runtime_;
  static inline runtime::RealmHandle realm_;
};

constexpr const char* conversations[] = {
    R"({"messages": [{"role": "user", "content": "Hello there"}]})",
    R"({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]})",
    R"({"messages": [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}, {"role": "user", "content": "Three"}]})",
    R"({"messages": [{"role": "system", "content": "Sys"}, {"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"},
        {"role": "user", "content": "Three"}, {"role": "assistant", "content": "Four"}, {"role": "user", "content": "Five"}]})",
    R"({"messages": [{"role": "user", "content":
        "quotes ' \" and \\ back, {{ braces }} {% tags %}, <|im_start|>, tab\t, line\nbreak, ünïcödé 日本 🦊"}]})",
    R"({"messages": [{"role": "user", "content": "  spaces around  "}, {"role": "assistant", "content": ""},
        {"role": "user", "content": "x"}]})",
    R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "in parts"}]}]})",
    R"({"messages": [{"role": "user", "content": "one"}, {"role": "user", "content": "two in a row"}]})",
    R"({"messages": [{"role": "user", "content": "Weather in \"Paris\"?"}], "tools": [{"type": "function",
        "function": {"name": "weather", "description": "Looks out of the window", "parameters": {"type": "object", "required": ["city"],
        "properties": {"city": {"type": "string", "description": "which"}, "days": {"type": "integer"}}}}}]})",
    R"({"messages": [{"role": "user", "content": "Weather in Paris?"}, {"role": "assistant", "content": "",
        "tool_calls": [{"type": "function", "id": "call00001", "function": {"name": "weather",
        "arguments": {"city": "Paris", "days": 2}}}]},
        {"role": "tool", "name": "weather", "tool_call_id": "call00001", "content": "sunny"}],
        "tools": [{"type": "function", "function": {"name": "weather", "description": "Looks out", "parameters": {"type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}}}]})"};

TEST_F(TemplateConformance, SandboxRendersAsTheNativeEngineDoes) {
  ASSERT_GE(templates_.size(), 50u);
  int rendered = 0, raised = 0;
  for (const auto& [name, source] : templates_) {
    for (const char* conversation : conversations) {
      const auto parsed = common_json::parse(conversation);
      const Rendered native = render_natively(source, parsed);
      const Rendered sandboxed = render_in_sandbox(source, parsed, false);
      EXPECT_TRUE(native == sandboxed) << name << "\n" << conversation << "\nnative:  " << native.text << "\nsandbox: " << sandboxed.text;
      ++(native.raised ? raised : rendered);
    }
  }
  RecordProperty("rendered", rendered);
  RecordProperty("raised", raised);
  EXPECT_GT(rendered, 500);
}

// What a user of any of these models expects: the system message reaches the model, whatever the template thinks of it.
TEST_F(TemplateConformance, SystemAndUserTextReachEveryModel) {
  const auto messages =
      common_json::parse(R"({"messages": [{"role": "system", "content": "SYSTEMTEXT"}, {"role": "user", "content": "USERTEXT"}]})");
  for (const auto& [name, source] : templates_) {
    const Rendered rendered = render_in_sandbox(source, messages, true);
    EXPECT_FALSE(rendered.raised) << name << ": " << rendered.text;
    EXPECT_NE(rendered.text.find("SYSTEMTEXT"), std::string::npos) << name << ": " << rendered.text;
    EXPECT_NE(rendered.text.find("USERTEXT"), std::string::npos) << name;
  }
}

// A rendering may lack a text because the template changes it. That is no reason to put the messages to it in another way.
TEST_F(TemplateConformance, ATemplateThatChangesTextsIsTakenAtItsWord) {
  const auto messages = common_json::parse(R"({"messages": [{"role": "user", "content": "say \"x\""}]})");
  EXPECT_EQ(render_in_sandbox("{{ messages[0].content | tojson }}", messages, true).text, R"("say \"x\"")");
  // Content in parts has no upper(): the second try raises, and the first rendering stands.
  EXPECT_EQ(render_in_sandbox("{{ messages[0].content.upper() }}", messages, true).text, R"(SAY "X")");
}

TEST_F(TemplateConformance, ATemplateWithoutSystemRoleGetsItInTheUserMessage) {
  const auto messages = common_json::parse(R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]})");
  const char* raises =
      "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ m.content }}{% endfor %}";
  EXPECT_EQ(render_in_sandbox(raises, messages, true).text, "S\nU");
  const char* skips = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}";
  EXPECT_EQ(render_in_sandbox(skips, messages, true).text, "S\nU");
}

TEST_F(TemplateConformance, ARefusalHasTheTemplatesOwnWords) {
  const auto messages = common_json::parse(R"({"messages": [{"role": "user", "content": "U"}]})");
  const auto says = [&](const char* source, const char* words) {
    const Rendered rendered = render_in_sandbox(source, messages, true);
    EXPECT_TRUE(rendered.raised) << source;
    EXPECT_NE(rendered.text.find(words), std::string::npos) << rendered.text;
  };
  says("{{ raise_exception('roles must alternate') }}", "roles must alternate");
  // With content in parts it says something else; what it said to the messages as they are is what helps.
  says("{% if messages[0].content is string %}{{ raise_exception('first') }}{% else %}{{ raise_exception('second') }}{% endif %}", "first");
  says("{{ 'seven' | int }}", "stoi");  // an exception inside the C++ library, which comes without them
  says("{% if %}", "broken");
}

TEST_F(TemplateConformance, ATemplateBombCostsItsOwnAllowanceOnly) {
  const auto messages = common_json::parse(R"({"messages": [{"role": "user", "content": "x"}]})");
  const char* loop = "{% for i in range(1000000000) %}{% for j in range(1000000000) %}{{ i }}{% endfor %}{% endfor %}";
  EXPECT_TRUE(render_in_sandbox(loop, messages, false).raised);
  const char* nested = "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}";
  EXPECT_TRUE(render_in_sandbox(nested, messages, false).raised);
  EXPECT_EQ(render_in_sandbox("{{ messages[0].content }}", messages, false).text, "x");
}

}  // namespace
}  // namespace realm
