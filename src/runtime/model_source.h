// Where a runtime gets the models from that it was not given at its start.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "base/result.h"

namespace realm::runtime {

struct LoadedModel;

using ModelOpened = std::function<void(Result<std::shared_ptr<LoadedModel>>)>;

class ModelSource {
 public:
  virtual ~ModelSource() = default;
  // `name` may be empty: the source's default. `tenant_id` says for whom: a model that is not for it does not exist. Calls `opened`
  // exactly once, now or later, on any thread; the model stays loaded while the pointer lives. Any thread.
  virtual void open(std::string_view name, std::string_view tenant_id, ModelOpened opened) = 0;
};

}  // namespace realm::runtime
