#include "models/file_name.h"

#include <gtest/gtest.h>

namespace realm::models {
namespace {

TEST(FileName, PartsAreTold) {
  const PartName part = part_name("big-00002-of-00003");
  EXPECT_EQ(part.name, "big");
  EXPECT_EQ(part.part, 2u);
  EXPECT_EQ(part.parts, 3u);
  EXPECT_EQ(part_file(part), "big-00002-of-00003.gguf");
}

// Numbers that no part can have belong to the name, so that the name leads back to the file.
TEST(FileName, ImpossiblePartsAreWholeFiles) {
  for (const char* stem : {"a-00002-of-00001", "a-00000-of-00002", "a-00001-of-00001", "a-00000-of-00000"}) {
    const PartName part = part_name(stem);
    EXPECT_EQ(part.name, stem);
    EXPECT_EQ(part.part, 1u);
    EXPECT_EQ(part.parts, 1u);
    EXPECT_EQ(part_file(part), std::string(stem) + ".gguf");
  }
}

}  // namespace
}  // namespace realm::models
