// The build of ggml-cpu that this process uses, and what kernels that extend it need of it. Every build has these functions for
// itself (CMakeLists.txt beside): a thread pool made by one must not wait at the barrier of another.
#pragma once

#include <ggml-backend.h>

#include <vector>

struct ggml_threadpool;

struct realm_cpu_variant {
  const char* name;  // "zen4"; "native" where there is one build only
  ggml_backend_reg_t (*registry)();
  // The buffer types that are asked before each operation. May be added to before the first model is loaded.
  std::vector<ggml_backend_buffer_type_t>& (*extra_buffer_types)();
  void (*barrier)(ggml_threadpool* pool);
};

const realm_cpu_variant& realm_chosen_cpu_variant();
