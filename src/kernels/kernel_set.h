// The kernels compiled for one instruction set. A set's code (src/kernels/sets) is built once for each, and only what is named here can be
// seen from outside, so that no inline function built for a newer processor can stand in for everyone's (cmake/kernels.cmake).
#pragma once

#include <cstddef>

#include "kernels/attention.h"
#include "kernels/multiplication.h"

namespace realm::kernels {

// One of the threads that work on an operation together.
struct Worker {
  int index = 0;
  int count = 1;
  void (*barrier)(void* pool) = nullptr;  // returns when all have called it
  void* pool = nullptr;

  void wait() const {
    if (count > 1) barrier(pool);
  }
};

struct KernelSet {
  // Bytes of the memory that all workers of one operation, at most `workers`, share. It is aligned to 64.
  size_t (*attention_work_bytes)(const Attention& task, int workers);
  // Called by each worker; `work` is the same for all.
  void (*attend)(const Attention& task, const Worker& worker, void* work);

  // What weights of this shape take when they are packed; 0 when this set does not pack them.
  size_t (*packed_bytes)(WeightType type, int64_t rows, int64_t size);
  void (*pack_weights)(WeightType type, int rows, int size, const char* from, char* to);
  size_t (*multiply_work_bytes)(const Multiplication& task);
  void (*multiply)(const Multiplication& task, const Worker& worker, void* work);
};

}  // namespace realm::kernels
