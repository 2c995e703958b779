#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <vector>

#include "sandbox/module_text.h"
#include "sandbox/sandbox.h"

namespace realm::sandbox {
namespace {

class CodeCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/realm-cache-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
  }
  void TearDown() override {
    sandbox_.reset();
    chmod((folder_ / "code").c_str(), 0700);
    std::filesystem::remove_all(folder_);
  }
  void load_program() {
    auto sandbox = Sandbox::create({.instances_max = 4, .code_cache = folder_ / "code"}, {});
    ASSERT_TRUE(sandbox) << sandbox.error().message;
    sandbox_ = std::move(*sandbox);
    const auto program = sandbox_->load(compile("(module (func (export \"handle\") (result i32) (i32.const 42)))"), {});
    ASSERT_TRUE(program) << program.error().message;
    std::promise<Outcome> ended;
    StartOptions options;
    options.on_end = [&ended](Outcome&& outcome) { ended.set_value(std::move(outcome)); };
    ASSERT_TRUE(sandbox_->start(*program, std::move(options)));
    EXPECT_EQ(ended.get_future().get().result, 42);
  }
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "code")) found.push_back(entry.path());
    return found;
  }
  std::filesystem::path folder_;
  std::unique_ptr<Sandbox> sandbox_;
};

TEST_F(CodeCacheTest, CompiledProgramIsFoundAgain) {
  load_program();
  ASSERT_EQ(files().size(), 1u);
  const auto written = std::filesystem::last_write_time(files().front());
  struct stat status {};
  ASSERT_EQ(stat((folder_ / "code").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  load_program();
  EXPECT_EQ(files().size(), 1u);
  EXPECT_EQ(std::filesystem::last_write_time(files().front()), written);
}

TEST_F(CodeCacheTest, DamagedFileIsCompiledOver) {
  load_program();
  std::filesystem::resize_file(files().front(), 100);
  load_program();
  EXPECT_GT(std::filesystem::file_size(files().front()), 100u);
}

TEST_F(CodeCacheTest, FolderThatOthersMayWriteToIsNotTrusted) {
  std::filesystem::create_directory(folder_ / "code");
  chmod((folder_ / "code").c_str(), 0777);
  load_program();
  EXPECT_TRUE(files().empty());
}

}  // namespace
}  // namespace realm::sandbox
