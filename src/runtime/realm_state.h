// What the runtime keeps of an open realm. Internal to the runtime.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "engine/sequence.h"
#include "runtime/foreground_budget.h"
#include "runtime/runtime.h"

namespace realm::runtime {

struct RealmState {
  std::string id;
  RealmLimits limits;
  engine::FlowId flow = 0;  // never given out twice, so a realm opened again under the same name finds nothing of the old one

  std::mutex mutex;
  bool closed = false;                                                    // guarded
  std::unordered_map<const Generation*, std::weak_ptr<Generation>> live;  // guarded
  ForegroundBudget foreground;                                            // guarded

  std::atomic<uint64_t> kv_tokens_reserved{0};  // tokens_max of the open sequences
  std::atomic<uint64_t> tokens_appended{0};     // to sequences, by programs
  std::atomic<uint64_t> tokens_taken{0};        // generated ones
};

}  // namespace realm::runtime
