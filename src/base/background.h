// Work of low priority: programs that compute for long, and the children that look at what strangers wrote. What computes for everybody
// goes first, and leaves the processors to it for a short time now and then (ComputePool::give_way), so that it goes on all the same.
#pragma once

#include <cstdint>

namespace realm {

// The calling thread, and what it starts from now on, is of low priority. It cannot go back without a privilege.
void enter_background() noexcept;

// While one lives, somebody of low priority has something to do. Any thread.
class BackgroundWork {
 public:
  BackgroundWork() noexcept;
  ~BackgroundWork();
  BackgroundWork(const BackgroundWork&) = delete;
  BackgroundWork& operator=(const BackgroundWork&) = delete;

  static uint32_t count() noexcept;
};

}  // namespace realm
