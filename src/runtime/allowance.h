// What one request may use when its program has a manifest: nothing that the manifest does not name, and never more than the realm may.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/sandbox.h"

namespace realm::runtime {

struct Allowance {
  bool all_models = false;          // those that the realm may use
  std::vector<std::string> models;  // otherwise: these
  uint64_t kv_tokens_max = 0;       // of the request's open sequences together
  uint64_t tokens_max = 0;          // appended and generated
  uint64_t store_bytes_max = 0;     // of the realm's store, when it puts something there
  uint32_t cpu_ms_max = 0;
  uint64_t memory_bytes_max = 0;
  bool tensors = false;  // weights of the models, and products with them
};

// What is left of it. Without an allowance everything is allowed: the realm's limits are enforced elsewhere.
class AllowanceMeter {
 public:
  explicit AllowanceMeter(const std::optional<Allowance>& allowance) : allowance_(allowance) {}

  // The model to open for a name that the program gave, which may be empty: its default. Nullopt: none for this program.
  std::optional<std::string_view> model(std::string_view wanted) const {
    if (!allowance_ || allowance_->all_models) return wanted;
    const auto& models = allowance_->models;
    if (wanted.empty()) return models.empty() ? std::nullopt : std::optional<std::string_view>(models.front());
    return std::find(models.begin(), models.end(), wanted) == models.end() ? std::nullopt : std::optional(wanted);
  }
  uint64_t store_bytes(uint64_t of_realm) const { return allowance_ ? std::min(allowance_->store_bytes_max, of_realm) : of_realm; }
  bool tensors() const { return !allowance_ || allowance_->tensors; }
  bool covers_kv(uint64_t tokens) const { return !allowance_ || tokens <= allowance_->kv_tokens_max; }
  uint64_t tokens_left() const { return allowance_ ? allowance_->tokens_max - tokens_used_ : UINT64_MAX; }
  void use_tokens(uint64_t count) { tokens_used_ += allowance_ ? std::min(count, tokens_left()) : 0; }

  sandbox::InstanceLimits limits(sandbox::InstanceLimits of_realm) const {
    if (!allowance_) return of_realm;
    of_realm.cpu_ms_max = std::min(of_realm.cpu_ms_max, std::max(allowance_->cpu_ms_max, 1u));
    of_realm.memory_bytes_max = std::min(of_realm.memory_bytes_max, allowance_->memory_bytes_max);
    return of_realm;
  }

 private:
  const std::optional<Allowance>& allowance_;
  uint64_t tokens_used_ = 0;
};

}  // namespace realm::runtime
