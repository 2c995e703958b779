// A model with the scheduler that serves it. Shared by every instance that opened it.
#pragma once

#include <memory>
#include <string_view>

#include "engine/model.h"
#include "engine/scheduler.h"
#include "runtime/model_source.h"
#include "runtime/named_sequences.h"
#include "runtime/prefix_publisher.h"

namespace realm::runtime {

struct RealmState;

struct LoadedModel {
  std::shared_ptr<engine::Model> model;
  std::unique_ptr<engine::Scheduler> scheduler;
  NamedSequences named{};
  std::unique_ptr<PrefixPublisher> publisher{};  // ends before the scheduler does
};

// Finds what a program asks for by name; the empty name is the default model.
class ModelLookup {
 public:
  virtual ~ModelLookup() = default;
  // Calls `opened` exactly once, now or later, on any thread. The model stays loaded while the pointer lives. Any thread.
  virtual void open_model(std::string_view name, const RealmState& realm, ModelOpened opened) = 0;
};

}  // namespace realm::runtime
