// SPDX-License-Identifier: Apache-2.0
#include "storage/pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

#include "base/env.h"
#include "base/error.h"
#include "base/fork.h"
#include "engine/engine.h"

namespace mxnet::storage {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr int kNearClasses = 2;  // a large block may be served by one this many classes larger

// Large blocks are mapped at huge page boundaries: fewer faults at first touch, fewer TLB misses later.
void* map_huge(size_t bytes) {
  const size_t padded = bytes + kHugePage;
  void* base = mmap(nullptr, padded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  const uintptr_t from = reinterpret_cast<uintptr_t>(base);
  const uintptr_t begin = (from + kHugePage - 1) & ~(kHugePage - 1);
  if (begin > from) munmap(base, begin - from);
  const uintptr_t end = begin + bytes;
  if (from + padded > end) munmap(reinterpret_cast<void*>(end), from + padded - end);
  void* data = reinterpret_cast<void*>(begin);
  madvise(data, bytes, MADV_HUGEPAGE);  // advice: a refusal does no harm
  return data;
}

void* system_allocate(size_t bytes) {
  return bytes >= kHugePage ? map_huge(bytes) : std::aligned_alloc(kAlignment, bytes);
}

void system_free(void* data, size_t bytes) {
  if (bytes >= kHugePage)
    munmap(data, bytes);
  else
    std::free(data);
}

// Ways to find memory when there is none.
using Relief = void (*)();

// Queued operations hold what they read and write.
void wait_for_queued_work() {
  if (!Engine::on_worker()) Engine::get().quiesce();
}

int64_t cache_limit() {
  if (env::settings().cache_limit > 0) return env::settings().cache_limit;
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE) / 2;
}

}  // namespace

Pool::Pool(Device device)
    : device_(device), cache_limit_(cache_limit()), limit_(std::max<int64_t>(0, env::settings().memory_limit)) {}

Block Pool::allocate(size_t bytes) {
  if (bytes > class_bytes(kClasses - 1)) exhausted(bytes);
  int index = class_of(bytes);
  Lock lock(mutex_);
  ++allocations_;
  void* data = pop(index, &index);
  if (!data) data = from_system(index, bytes, lock);
  return {data, class_bytes(index), device_, this};
}

// Out of the list of the class, or of one a little above for large blocks.
void* Pool::pop(int index, int* found) {
  const int last = index < kSmallClasses ? index : std::min(index + kNearClasses, kClasses - 1);
  for (int i = index; i <= last; ++i) {
    if (lists_[i].empty()) continue;
    void* data = lists_[i].back();
    lists_[i].pop_back();
    *found = i;
    cached_ -= static_cast<int64_t>(class_bytes(i));
    lend(static_cast<int64_t>(class_bytes(i)));
    return data;
  }
  return nullptr;
}

void Pool::lend(int64_t bytes) {
  in_use_ += bytes;
  peak_ = std::max(peak_, in_use_);
}

// The lock is held at the call and after, but not while the system works.
void* Pool::from_system(int index, size_t wanted, Lock& lock) {
  for (Relief relief : {trim_everything, wait_for_queued_work, trim_everything}) {
    if (void* data = try_system(index, lock)) return data;
    lock.unlock();
    relief();
    lock.lock();
  }
  if (void* data = try_system(index, lock)) return data;
  lock.unlock();
  exhausted(wanted);
}

void* Pool::try_system(int index, Lock& lock) {
  const size_t bytes = class_bytes(index);
  const auto count = static_cast<int64_t>(bytes);
  if (!fits(count)) return nullptr;
  in_use_ += count;  // taken before the lock is left, so that the limit holds
  lock.unlock();
  void* data = system_allocate(bytes);
  lock.lock();
  if (!data) {
    in_use_ -= count;
    return nullptr;
  }
  ++system_allocations_;
  peak_ = std::max(peak_, in_use_);
  return data;
}

void Pool::exhausted(size_t bytes) {
  const Stats now = storage::stats(device_);
  fail(ErrorKind::memory, device_.str(), ": out of memory: asked for ", bytes, " bytes; ", now.in_use,
       " bytes are in use, ", now.cached, " are cached, ",
       now.limit > 0 ? str("the limit is ", now.limit, " bytes") : std::string("no limit is set"));
}

void Pool::release(void* data, size_t capacity) {
  Lock lock(mutex_);
  keep(class_of(capacity), data);
}

void Pool::keep(int index, void* data) {
  const size_t bytes = class_bytes(index);
  const auto count = static_cast<int64_t>(bytes);
  in_use_ -= count;
  if (cached_ + count > cache_limit_ || !fits(count)) {
    system_free(data, bytes);
    return;
  }
  lists_[index].push_back(data);
  cached_ += count;
}

int Pool::take(int index, void** out, int want) {
  Lock lock(mutex_);
  int count = 0;
  while (count < want && (out[count] = pop(index, &index))) ++count;
  if (count > 0) return count;
  out[0] = from_system(index, class_bytes(index), lock);
  return 1;
}

void Pool::give(int index, void* const* blocks, int count) {
  Lock lock(mutex_);
  for (int i = 0; i < count; ++i) keep(index, blocks[i]);
}

void Pool::count_foreign(int64_t bytes, bool from_system) {
  Lock lock(mutex_);
  if (!fits(bytes)) {
    lock.unlock();
    exhausted(static_cast<size_t>(bytes));
  }
  lend(bytes);
  ++allocations_;
  if (from_system) ++system_allocations_;
}

void Pool::discount_foreign(int64_t bytes) {
  Lock lock(mutex_);
  in_use_ -= bytes;
}

Stats Pool::stats() {
  Lock lock(mutex_);
  return {in_use_, cached_, peak_, limit_, allocations_, system_allocations_};
}

void Pool::reset_peak() {
  Lock lock(mutex_);
  peak_ = in_use_;
}

void Pool::set_limit(int64_t bytes) {
  Lock lock(mutex_);
  limit_ = std::max<int64_t>(0, bytes);
  if (!fits(0)) empty_lists();
}

void Pool::trim() {
  Lock lock(mutex_);
  empty_lists();
}

void Pool::empty_lists() {
  for (int i = 0; i < kClasses; ++i) {
    for (void* data : lists_[i]) system_free(data, class_bytes(i));
    std::vector<void*>().swap(lists_[i]);
  }
  cached_ = 0;
}

// ---- the pools of the process
// -------------------------------------------------------------------------------------------

namespace {

struct Pools {
  std::mutex mutex;
  std::map<std::pair<int32_t, int32_t>, std::unique_ptr<Pool>> map;
};

Pools& pools() {
  static auto* instance = [] {
    auto* made = new Pools;  // never destroyed: arrays may die during exit
    register_fork_handlers({kForkStorage,
                            [] {
                              pools().mutex.lock();
                              for (auto& [key, pool] : pools().map) pool->mutex().lock();
                            },
                            [] {
                              for (auto& [key, pool] : pools().map) pool->mutex().unlock();
                              pools().mutex.unlock();
                            },
                            [] {
                              for (auto& [key, pool] : pools().map) pool->mutex().unlock();
                              pools().mutex.unlock();
                            }});
    return made;
  }();
  return *instance;
}

}  // namespace

Pool& pool_of(Device device) {
  if (device.type == DeviceType::gpu) {
    fail(ErrorKind::generic, device.str(), ": no CUDA device: this build of MXNet, on this machine, has only the CPU");
  }
  Pools& all = pools();
  std::lock_guard lock(all.mutex);
  std::unique_ptr<Pool>& pool = all.map[{static_cast<int32_t>(device.type), device.id}];
  if (!pool) pool = std::make_unique<Pool>(device);
  return *pool;
}

void for_each_pool(void (*f)(Pool&)) {
  Pools& all = pools();
  std::lock_guard lock(all.mutex);
  for (auto& [key, pool] : all.map) f(*pool);
}

}  // namespace mxnet::storage
