#include "sandbox/compile_child.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>

#include "sandbox/module_text.h"
#include "sandbox/sandbox.h"

namespace realm::sandbox {
namespace {

namespace fs = std::filesystem;

// This program is its own compiler: started as the child, it is nothing else.
const bool is_child = [] {
  std::ifstream in("/proc/self/cmdline");
  std::string name, argument, descriptor;
  std::getline(in, name, '\0');
  std::getline(in, argument, '\0');
  std::getline(in, descriptor, '\0');
  if (argument == compilation_argument) _exit(run_compilation_child(std::stoi(descriptor)));
  return false;
}();

std::string bytes_of(const std::string& text) {
  const auto wasm = compile(text);
  return {wasm.begin(), wasm.end()};
}

class CompileChildTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/realm-compile-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    open();
  }
  void TearDown() override {
    sandbox_.reset();
    fs::remove_all(folder_);
  }
  void open(uint64_t cache_bytes_max = 1 << 30) {
    sandbox_.reset();
    auto made = Sandbox::create({.instances_max = 4, .code_cache = folder_ / "code", .code_cache_bytes_max = cache_bytes_max}, {});
    ASSERT_TRUE(made) << made.error().message;
    sandbox_ = std::move(*made);
  }
  Result<std::shared_ptr<const Program>> load(const std::string& wasm, const std::string& key) {
    return sandbox_->load_confined({.key = key,
                                    .read = [this, &wasm]() -> Result<std::string> {
                                      ++reads_;
                                      return wasm;
                                    }},
                                   {});
  }
  std::string refusal(const std::string& wasm) {
    const auto loaded = load(wasm, "refused");
    EXPECT_FALSE(loaded);
    return loaded ? "" : loaded.error().message;
  }
  size_t cached() const { return static_cast<size_t>(std::distance(fs::directory_iterator(folder_ / "code"), fs::directory_iterator())); }

  fs::path folder_;
  std::unique_ptr<Sandbox> sandbox_;
  int reads_ = 0;
};

TEST_F(CompileChildTest, WhatItCompiledRuns) {
  const auto program = load(bytes_of("(module (memory (export \"memory\") 2) (func (export \"handle\") (result i32) i32.const 41))"), "a");
  ASSERT_TRUE(program) << program.error().message;
  EXPECT_TRUE((*program)->shape().exports_memory);
  EXPECT_EQ((*program)->shape().memory_bytes_min, 131'072u);
  EXPECT_GT((*program)->shape().code_bytes, 0u);
  std::promise<Outcome> ended;
  auto started = sandbox_->start(*program, {.limits = {}, .on_end = [&ended](Outcome&& outcome) { ended.set_value(std::move(outcome)); }});
  ASSERT_TRUE(started);
  const Outcome outcome = ended.get_future().get();
  EXPECT_EQ(outcome.kind, OutcomeKind::finished) << outcome.message;
  EXPECT_EQ(outcome.result, 41);
}

TEST_F(CompileChildTest, CodeIsFoundAgainByItsKeyWithoutTheModule) {
  const std::string wasm = bytes_of("(module (func (export \"handle\") (result i32) i32.const 1))");
  ASSERT_TRUE(load(wasm, "a"));
  open();
  ASSERT_TRUE(load(wasm, "a"));
  EXPECT_EQ(reads_, 1);
  ASSERT_TRUE(load(wasm, "of somebody else"));
  EXPECT_EQ(reads_, 2);
}

TEST_F(CompileChildTest, TheCacheKeepsToItsSize) {
  const std::string wasm = bytes_of("(module (func (export \"handle\") (result i32) i32.const 1))");
  ASSERT_TRUE(load(wasm, "a"));
  const uint64_t one = fs::file_size(fs::directory_iterator(folder_ / "code")->path());
  open(one * 2);
  for (const char* key : {"b", "c", "d", "e"}) ASSERT_TRUE(load(wasm, key));
  EXPECT_EQ(cached(), 2u);
  reads_ = 0;
  ASSERT_TRUE(load(wasm, "e"));
  EXPECT_EQ(reads_, 0);
}

TEST_F(CompileChildTest, NativeCodeIsNeverTaken) {
  ASSERT_TRUE(load(bytes_of("(module (func (export \"handle\") (result i32) i32.const 1))"), "a"));
  std::ifstream in(fs::directory_iterator(folder_ / "code")->path(), std::ios::binary);
  const std::string code((std::istreambuf_iterator<char>(in)), {});
  EXPECT_NE(refusal(code).find("native code"), std::string::npos);
  EXPECT_NE(refusal("").find("not a WebAssembly module"), std::string::npos);
}

TEST_F(CompileChildTest, WhatIsNotOfferedIsRefused) {
  const char* modules[] = {
      "(module (memory (export \"memory\") 1 1 shared))",                              // threads
      "(module (memory 1) (memory 1))",                                                // several memories
      "(module (type (struct (field i32))))",                                          // garbage collection
      "(module (tag) (func (throw 0)))",                                               // exceptions
      "(module (memory (export \"memory\") 2000))",                                    // more than any instance may have
      "(module (table (export \"t\") 100000000 funcref))",                             // likewise
      "(module (import \"realm\" \"no_such_function\" (func)))",                       // unknown
      "(module (import \"wasi_snapshot_preview1\" \"fd_close\" (func (param i64))))",  // another type
      "(module (import \"env\" \"memory\" (memory 1)))",
  };
  for (const char* text : modules) EXPECT_NE(refusal(bytes_of(text)), "") << text;
  ASSERT_TRUE(load(bytes_of("(module (memory (export \"memory\") i64 1))"), "fine"));
}

TEST_F(CompileChildTest, ImportsAndExportsHaveABound) {
  std::string imports = "(module", exports = "(module (func)";
  for (size_t i = 0; i <= imports_max; ++i) imports += "(import \"wasi_snapshot_preview1\" \"sched_yield\" (func (result i32)))";
  for (size_t i = 0; i <= exports_max; ++i) exports += "(export \"e" + std::to_string(i) + "\" (func 0))";
  EXPECT_NE(refusal(bytes_of(imports + ")")).find("imports, at most 1000"), std::string::npos);
  EXPECT_NE(refusal(bytes_of(exports + ")")).find("exports, at most 1000"), std::string::npos);
}

TEST_F(CompileChildTest, DamagedModulesAreRefused) {
  const std::string wasm =
      bytes_of("(module (memory (export \"memory\") 1) (data (i32.const 0) \"abc\") (func (export \"handle\") (result i32) i32.const 1))");
  // The first 8 bytes alone are a valid module, without anything in it.
  for (size_t bytes = 9; bytes < wasm.size(); bytes += 5) EXPECT_NE(refusal(wasm.substr(0, bytes)), "") << bytes;
}

// A function so large, in one piece, that no machine compiles it in the child's time and memory.
std::string bomb() {
  std::string wasm("\0asm\1\0\0\0\1\5\1\x60\1\x7f\0\3\2\1\0", 19);  // (func (param i32))
  const auto leb = [](size_t value) {
    std::string bytes;
    do {
      bytes += static_cast<char>((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
      value >>= 7;
    } while (value > 0);
    return bytes;
  };
  // Blocks, and in the innermost a table of jumps to each, over and over.
  constexpr size_t depth = 1'000, tables = 1'500;
  const std::string index = "\x20" + std::string(1, '\0');
  std::string table = index + "\x0d" + std::string(1, '\0') + index + "\x0e" + leb(depth);
  for (size_t i = 0; i <= depth; ++i) table += leb(i % depth);
  std::string body(1, '\0');
  for (size_t i = 0; i < depth; ++i) body += "\x02\x40";
  for (size_t i = 0; i < tables; ++i) body += "\x02\x40" + table + "\x0b";
  for (size_t i = 0; i < depth; ++i) body += "\x0b";
  body += "\x0b";
  const std::string code = "\x01" + leb(body.size()) + body;
  return wasm + "\x0a" + leb(code.size()) + code;
}

TEST_F(CompileChildTest, ABombCostsTheChildAlone) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's allocator ends the process in its own way when memory is used up";
#endif
  const auto code = compile_in_child("/proc/self/exe", bomb());
  ASSERT_FALSE(code);
  EXPECT_EQ(code.error().code, ErrorCode::unsupported);
  EXPECT_NE(code.error().message.find("its compilation used up"), std::string::npos) << code.error().message;
  EXPECT_TRUE(load(bytes_of("(module (func (export \"handle\") (result i32) i32.const 1))"), "a"));
}

TEST_F(CompileChildTest, WhatAChildSaysIsChecked) {
  const std::string hash(64, '0');
  const std::pair<std::string, const char*> children[] = {
      {"kill -SEGV $$", "died of signal 11"},
      {"echo nonsense", "nothing that can be understood"},
      {"exit 3", "could not be confined"},
      {"printf 'ok 4 " + hash + "\\nabcd'", "nothing that can be understood"},
      {"printf 'ok 5 88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589\\nabcd'", "nothing that can be understood"}};
  for (const auto& [does, said] : children) {
    const fs::path script = folder_ / "compiler";
    std::ofstream(script) << "#!/bin/sh\n" << does << "\n";
    fs::permissions(script, fs::perms::owner_all);
    const auto code = compile_in_child(script, "anything");
    ASSERT_FALSE(code);
    EXPECT_NE(code.error().message.find(said), std::string::npos) << code.error().message;
  }
}

}  // namespace
}  // namespace realm::sandbox
