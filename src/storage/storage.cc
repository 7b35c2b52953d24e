// SPDX-License-Identifier: Apache-2.0
// The front of the pools: a cache of small blocks for each thread, which needs no lock.
#include "storage/storage.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/env.h"
#include "base/error.h"
#include "base/fork.h"
#include "storage/pool.h"
#include "storage/sanitize.h"

namespace mxnet::storage {
namespace {

constexpr int kMaxSlots = 64;
constexpr size_t kBytesPerClass = 32 << 10;

constexpr int slots_of(int index) {
  return std::clamp(static_cast<int>(kBytesPerClass / class_bytes(index)), 2, kMaxSlots);
}

// Counters that only the owner changes and anybody may read.
class OwnCounter {
 public:
  void add(int64_t n) { value_.store(get() + n, std::memory_order_relaxed); }
  int64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// Small blocks of cpu(0) that one thread keeps at hand.
struct ThreadCache {
  struct List {
    int count = 0;
    void* slots[kMaxSlots];
  };
  List lists[kSmallClasses];
  OwnCounter cached;
  OwnCounter allocations;
  uint32_t epoch = 0;
  ThreadCache* previous = nullptr;
  ThreadCache* next = nullptr;

  void flush(Pool& pool) {
    for (int i = 0; i < kSmallClasses; ++i) give_back(pool, i, lists[i].count);
  }
  void give_back(Pool& pool, int index, int count) {
    if (count == 0) return;
    List& list = lists[index];
    list.count -= count;
    cached.add(-static_cast<int64_t>(class_bytes(index)) * count);
    pool.give(index, list.slots + list.count, count);
  }
};

struct Registry {
  std::mutex mutex;
  ThreadCache* first = nullptr;
  int64_t allocations = 0;  // of threads that ended
};

std::atomic<uint32_t> trim_epoch{0};
thread_local constinit ThreadCache* own_cache = nullptr;
thread_local constinit bool thread_ending = false;

Pool& main_pool() {
  static Pool& pool = pool_of(Device{});
  return pool;
}

void forget_other_threads();

Registry& registry() {
  static auto* instance = [] {
    auto* made = new Registry;
    main_pool();  // its locks are inside: registered before
    register_fork_handlers({kForkStorage - 1, [] { registry().mutex.lock(); }, [] { registry().mutex.unlock(); },
                            [] {
                              forget_other_threads();
                              registry().mutex.unlock();
                            }});
    return made;
  }();
  return *instance;
}

// In a forked child: the caches of threads that do not exist here are lost, with the blocks in them.
void forget_other_threads() {
  Registry& r = registry();
  for (const ThreadCache* cache = r.first; cache; cache = cache->next) {
    if (cache == own_cache) continue;
    main_pool().discount_foreign(cache->cached.get());
    r.allocations += cache->allocations.get();
  }
  r.first = own_cache;
  if (own_cache) own_cache->previous = own_cache->next = nullptr;
}

void enlist(ThreadCache* cache) {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  cache->next = r.first;
  if (r.first) r.first->previous = cache;
  r.first = cache;
}

void delist(ThreadCache* cache) {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  (cache->previous ? cache->previous->next : r.first) = cache->next;
  if (cache->next) cache->next->previous = cache->previous;
  r.allocations += cache->allocations.get();
}

// Gives the cache back when the thread ends.
struct CacheOwner {
  ~CacheOwner() {
    thread_ending = true;
    if (!own_cache) return;
    own_cache->flush(main_pool());
    delist(own_cache);
    delete std::exchange(own_cache, nullptr);
  }
};

[[gnu::noinline]] ThreadCache* make_cache() {
  if (thread_ending) return nullptr;
  static thread_local CacheOwner owner;
  own_cache = new ThreadCache;
  own_cache->epoch = trim_epoch.load(std::memory_order_relaxed);
  enlist(own_cache);
  return own_cache;
}

[[gnu::noinline]] void obey_trim(ThreadCache* cache) {
  cache->epoch = trim_epoch.load(std::memory_order_relaxed);
  cache->flush(main_pool());
}

// The cache of this thread, null while the thread ends.
inline ThreadCache* thread_cache() {
  ThreadCache* cache = own_cache;
  if (!cache) [[unlikely]]
    return make_cache();
  if (cache->epoch != trim_epoch.load(std::memory_order_relaxed)) [[unlikely]]
    obey_trim(cache);
  return cache;
}

[[gnu::noinline]] void refill(ThreadCache* cache, int index) {
  auto& list = cache->lists[index];
  list.count = main_pool().take(index, list.slots, std::max(1, slots_of(index) / 2));
  cache->cached.add(static_cast<int64_t>(class_bytes(index)) * list.count);
}

inline void* allocate_small(ThreadCache* cache, int index) {
  auto& list = cache->lists[index];
  if (list.count == 0) [[unlikely]]
    refill(cache, index);
  cache->cached.add(-static_cast<int64_t>(class_bytes(index)));
  cache->allocations.add(1);
  return list.slots[--list.count];
}

inline void release_small(ThreadCache* cache, int index, void* data) {
  auto& list = cache->lists[index];
  if (list.count == slots_of(index)) [[unlikely]]
    cache->give_back(main_pool(), index, (list.count + 1) / 2);
  list.slots[list.count++] = data;
  cache->cached.add(static_cast<int64_t>(class_bytes(index)));
}

// All bits set is a NaN in every floating type.
void poison(const Block& block) {
  static const bool enabled = env::settings().debug.poison;
  if (enabled) [[unlikely]]
    std::memset(block.data, 0xFF, block.capacity);
}

Block allocate_from_pool(size_t bytes, Device device) {
  if (device.type == DeviceType::cpu_shared) return allocate_shared(bytes, device);
  return pool_of(device).allocate(bytes);
}

}  // namespace

Block allocate(size_t bytes, Device device) {
  Block block;
  ThreadCache* cache = nullptr;
  if (bytes <= kSmallBytes && device == Device{} && (cache = thread_cache())) {
    const int index = class_of(bytes);
    void* data = allocate_small(cache, index);
    block = {data, class_bytes(index), device, &main_pool()};
  } else {
    block = allocate_from_pool(bytes, device);
  }
  limit_use(block, block.capacity);
  poison(block);
  limit_use(block, bytes);
  return block;
}

void release(const Block& block) {
  limit_use(block, block.capacity);
  if (block.device.type == DeviceType::cpu_shared) return release_shared(block);
  poison(block);
  limit_use(block, 0);
  ThreadCache* cache = nullptr;
  if (block.capacity <= kSmallBytes && block.device == Device{} && (cache = thread_cache())) {
    release_small(cache, class_of(block.capacity), block.data);
  } else {
    static_cast<Pool*>(block.handle)->release(block.data, block.capacity);
  }
}

Stats stats(Device device) {
  Stats total = pool_of(device).stats();
  if (device != Device{}) return total;
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  total.allocations += r.allocations;
  for (const ThreadCache* cache = r.first; cache; cache = cache->next) {
    total.in_use -= cache->cached.get();
    total.cached += cache->cached.get();
    total.allocations += cache->allocations.get();
  }
  return total;
}

void reset_peak(Device device) { pool_of(device).reset_peak(); }

void set_limit(Device device, int64_t bytes) {
  if (bytes < 0) fail(ErrorKind::value, "set_limit: the limit must not be negative, given ", bytes);
  pool_of(device).set_limit(bytes);
}

void trim() { trim_everything(); }

void trim_everything() {
  trim_epoch.fetch_add(1, std::memory_order_relaxed);
  if (own_cache) obey_trim(own_cache);
  for_each_pool([](Pool& pool) { pool.trim(); });
}

}  // namespace mxnet::storage
