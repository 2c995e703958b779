#include "base/thread_name.h"

#include <pthread.h>

namespace realm {

void name_this_thread(const char* name) noexcept { pthread_setname_np(pthread_self(), name); }

NamedThreads::NamedThreads(const char* name) noexcept {
  pthread_getname_np(pthread_self(), before_.data(), before_.size());
  name_this_thread(name);
}

NamedThreads::~NamedThreads() { name_this_thread(before_.data()); }

}  // namespace realm
