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

Rendered render_natively(const std::string& source, const common_json& messages) {
  try {
    common_json variables = common_json::object();
    variables["messages"] = messages;
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
  void on_end(Result<void> result, const runtime::GenerationStats& stats) override {
    std::lock_guard lock(mutex_);
    if (!result) rendered_ = {true, result.error().message};
    cpu_ns_ = stats.guest_cpu_ns;
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
  uint64_t cpu_ns_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
};

class TemplateConformance : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("TZ", "UTC", 1);  // the sandbox knows no other
    const char* folder = std::getenv("REALM_TEMPLATES");
    ASSERT_NE(folder, nullptr) << "set REALM_TEMPLATES to the folder that tools/fetch_templates.py prints";
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
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

  Rendered render_in_sandbox(const std::string& source, const common_json& messages, bool adapt) {
    common_json request = common_json::object();
    request["template"] = source;
    request["messages"] = messages;
    request["bos_token"] = "<s>";
    request["eos_token"] = "</s>";
    request["adapt"] = adapt;
    Listener listener;
    auto started = runtime_->generate(realm_, request.dump(), listener, "render");
    EXPECT_TRUE(started) << started.error().message;
    return listener.wait();
  }

  std::vector<std::pair<std::string, std::string>> templates_;
  std::unique_ptr<runtime::Runtime> runtime_;
  runtime::RealmHandle realm_;
};

constexpr const char* conversations[] = {
    R"([{"role": "user", "content": "Hello there"}])",
    R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}])",
    R"([{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}, {"role": "user", "content": "Three"}])",
    R"([{"role": "system", "content": "Sys"}, {"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"},
        {"role": "user", "content": "Three"}, {"role": "assistant", "content": "Four"}, {"role": "user", "content": "Five"}])",
    R"([{"role": "user", "content": "quotes ' \" and \\ back, {{ braces }} {% tags %}, <|im_start|>, tab\t, line\nbreak, ünïcödé 日本 🦊"}])",
    R"([{"role": "user", "content": "  spaces around  "}, {"role": "assistant", "content": ""}, {"role": "user", "content": "x"}])"};

TEST_F(TemplateConformance, SandboxRendersAsTheNativeEngineDoes) {
  ASSERT_GE(templates_.size(), 50u);
  int rendered = 0, raised = 0;
  for (const auto& [name, source] : templates_) {
    for (const char* conversation : conversations) {
      const auto messages = common_json::parse(conversation);
      const Rendered native = render_natively(source, messages);
      const Rendered sandboxed = render_in_sandbox(source, messages, false);
      EXPECT_TRUE(native == sandboxed) << name << "\n" << conversation << "\nnative:  " << native.text << "\nsandbox: " << sandboxed.text;
      ++(native.raised ? raised : rendered);
    }
  }
  RecordProperty("rendered", rendered);
  RecordProperty("raised", raised);
  EXPECT_GT(rendered, 250);
}

// What a user of any of these models expects: the system message reaches the model, whatever the template thinks of it.
TEST_F(TemplateConformance, SystemAndUserTextReachEveryModel) {
  const auto messages =
      common_json::parse(R"([{"role": "system", "content": "SYSTEMTEXT"}, {"role": "user", "content": "USERTEXT"}])");
  for (const auto& [name, source] : templates_) {
    const Rendered rendered = render_in_sandbox(source, messages, true);
    EXPECT_FALSE(rendered.raised) << name << ": " << rendered.text;
    EXPECT_NE(rendered.text.find("SYSTEMTEXT"), std::string::npos) << name << ": " << rendered.text;
    EXPECT_NE(rendered.text.find("USERTEXT"), std::string::npos) << name;
  }
}

TEST_F(TemplateConformance, ATemplateBombCostsItsOwnAllowanceOnly) {
  const auto messages = common_json::parse(R"([{"role": "user", "content": "x"}])");
  const char* loop = "{% for i in range(1000000000) %}{% for j in range(1000000000) %}{{ i }}{% endfor %}{% endfor %}";
  EXPECT_TRUE(render_in_sandbox(loop, messages, false).raised);
  const char* nested = "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}";
  EXPECT_TRUE(render_in_sandbox(nested, messages, false).raised);
  EXPECT_EQ(render_in_sandbox("{{ messages[0].content }}", messages, false).text, "x");
}

}  // namespace
}  // namespace realm
