// A model with the scheduler that serves it. Shared by every instance that opened it.
#pragma once

#include <memory>
#include <string>

#include "engine/model.h"
#include "engine/scheduler.h"

namespace realm::runtime {

struct LoadedModel {
  std::shared_ptr<engine::Model> model;
  std::unique_ptr<engine::Scheduler> scheduler;
};

// Finds what a program asks for by name; the empty name is the default model. Any thread.
class ModelLookup {
 public:
  virtual ~ModelLookup() = default;
  virtual std::shared_ptr<LoadedModel> find_model(std::string_view name) = 0;
};

}  // namespace realm::runtime
