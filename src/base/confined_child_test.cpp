#include "base/confined_child.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace realm {
namespace {

constexpr int reached_the_end = 7;

// In a process of its own that ends with `reached_the_end` if the kernel lets it.
template <typename Work>
void confined(const Confinement& confinement, Work work) {
  if (!confine(confinement)) _exit(child_not_confined);
  work();
  _exit(reached_the_end);
}

class ConfinedChildTest : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer's runtime needs the calls that the filter forbids";
#endif
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }
};

TEST_F(ConfinedChildTest, MemoryMayBeHadUpToTheLimit) {
  const Confinement small{.cpu_s_max = 10, .memory_bytes_max = 64u << 20, .compiles = false};
  const auto fits = [](size_t bytes) {
    return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
  };
  EXPECT_EXIT(confined(small, [&] { _exit(fits(16u << 20) && !fits(128u << 20) ? reached_the_end : 1); }),
              ::testing::ExitedWithCode(reached_the_end), "");
}

TEST_F(ConfinedChildTest, FilesSocketsAndProcessesEndIt) {
  EXPECT_EXIT(confined({}, [] { open("/etc/passwd", O_RDONLY); }), ::testing::KilledBySignal(SIGSYS), "");
  for (const bool compiles : {false, true}) {
    const Confinement confinement{.cpu_s_max = 10, .memory_bytes_max = 1u << 30, .compiles = compiles};
    EXPECT_EXIT(confined(confinement, [] { socket(AF_INET, SOCK_STREAM, 0); }), ::testing::KilledBySignal(SIGSYS), "");
    EXPECT_EXIT(confined(confinement, [] { fork(); }), ::testing::KilledBySignal(SIGSYS), "");
    EXPECT_EXIT(confined(confinement, [] { execl("/bin/true", "true", nullptr); }), ::testing::KilledBySignal(SIGSYS), "");
    EXPECT_EXIT(confined(confinement, [] { kill(getppid(), SIGTERM); }), ::testing::KilledBySignal(SIGSYS), "");
    char byte = 0;
    EXPECT_EXIT(confined(confinement,
                         [&] {
                           if (read(0, &byte, 1) > 0) _exit(1);
                         }),
                ::testing::KilledBySignal(SIGSYS), "");
  }
}

TEST_F(ConfinedChildTest, ACompilerCanOpenNoFileEither) {
  const Confinement compiler{.cpu_s_max = 10, .memory_bytes_max = 1u << 30, .compiles = true};
  EXPECT_EXIT(confined(compiler, [] { _exit(open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES ? reached_the_end : 1); }),
              ::testing::ExitedWithCode(reached_the_end), "");
}

TEST_F(ConfinedChildTest, OnlyACompilerHasMemoryToExecute) {
  const auto executable = [] { return mmap(nullptr, 4'096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); };
  EXPECT_EXIT(confined({}, [&] { executable(); }), ::testing::KilledBySignal(SIGSYS), "");
  const Confinement compiler{.cpu_s_max = 10, .memory_bytes_max = 1u << 30, .compiles = true};
  EXPECT_EXIT(confined(compiler, [&] { _exit(executable() != MAP_FAILED ? reached_the_end : 1); }),
              ::testing::ExitedWithCode(reached_the_end), "");
}

TEST_F(ConfinedChildTest, TheProcessorsTimeIsLimited) {
  const Confinement one_second{.cpu_s_max = 1, .memory_bytes_max = 1u << 30, .compiles = false};
  EXPECT_EXIT(confined(one_second,
                       [] {
                         for (volatile bool on = true; on;) continue;
                       }),
              ::testing::KilledBySignal(SIGKILL), "");
}

}  // namespace
}  // namespace realm
