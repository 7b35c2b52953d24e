// SPDX-License-Identifier: Apache-2.0
#include "base/fork.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <mutex>

#include "base/error.h"

namespace mxnet {
namespace {

struct Registry {
  std::mutex mutex;
  std::array<ForkHandlers, 16> entries;
  size_t count = 0;
};

Registry& registry() {
  static auto* instance = new Registry;  // never destroyed: fork() may come during exit
  return *instance;
}

void before() {
  Registry& r = registry();
  r.mutex.lock();
  for (size_t i = 0; i < r.count; ++i) {
    if (r.entries[i].prepare) r.entries[i].prepare();
  }
}

void after(void (*ForkHandlers::*step)()) {
  Registry& r = registry();
  for (size_t i = r.count; i-- > 0;) {
    if (r.entries[i].*step) (r.entries[i].*step)();
  }
  r.mutex.unlock();
}

}  // namespace

void register_fork_handlers(const ForkHandlers& handlers) {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  if (r.count == r.entries.size()) fail("register_fork_handlers: more than ", r.entries.size(), " parts registered");
  if (r.count == 0) {
    pthread_atfork(before, [] { after(&ForkHandlers::parent); }, [] { after(&ForkHandlers::child); });
  }
  size_t at = r.count++;
  for (; at > 0 && r.entries[at - 1].order > handlers.order; --at) r.entries[at] = r.entries[at - 1];
  r.entries[at] = handlers;
}

}  // namespace mxnet
