// What tests of the database share: tenants in a folder of their own, which can be opened again.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "tenants/tenants.h"

namespace realm::tenants {

class OpenedTenants : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/realm-tenants-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder = name;
    open();
  }
  void TearDown() override {
    tenants.reset();
    std::filesystem::remove_all(folder);
  }
  void open() {
    tenants.reset();
    auto opened = Tenants::open({.folder = folder / "data"});
    ASSERT_TRUE(opened) << opened.error().message;
    tenants = std::move(*opened);
  }

  std::filesystem::path folder;
  std::unique_ptr<Tenants> tenants;
};

}  // namespace realm::tenants
