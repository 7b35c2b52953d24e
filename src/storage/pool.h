// SPDX-License-Identifier: Apache-2.0
// The central pool of one device: private to this folder.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <mutex>
#include <vector>

#include "storage/storage.h"

namespace mxnet::storage {

// Size classes: 64, 128, 192, 256 bytes, then four steps to each power of two.
inline constexpr int kClasses = 164;
inline constexpr int class_of(size_t bytes) {
  const size_t units = bytes <= kAlignment ? 1 : (bytes + kAlignment - 1) / kAlignment;
  if (units <= 4) return static_cast<int>(units) - 1;
  const int shift = std::bit_width(units - 1) - 3;
  return 4 * shift + static_cast<int>((units - 1) >> shift);
}
inline constexpr size_t class_bytes(int index) {
  if (index < 4) return (static_cast<size_t>(index) + 1) * kAlignment;
  return (static_cast<size_t>(index) % 4 + 5) * kAlignment << (index / 4 - 1);
}

// Blocks of up to this size also live in the threads' caches.
inline constexpr size_t kSmallBytes = 64 << 10;
inline constexpr int kSmallClasses = class_of(kSmallBytes) + 1;

class Pool {
 public:
  explicit Pool(Device device);

  Block allocate(size_t bytes);
  void release(void* data, size_t capacity);

  // For the threads' caches: up to `want` blocks of a small class, at least one; and back.
  int take(int index, void** out, int want);
  void give(int index, void* const* blocks, int count);

  // Counts memory that the pool does not make itself (shared segments). Throws Error(memory) beyond the limit.
  void count_foreign(int64_t bytes, bool from_system);
  void discount_foreign(int64_t bytes);

  Stats stats();  // without what the threads' caches know
  void reset_peak();
  void set_limit(int64_t bytes);
  void trim();
  [[noreturn]] void exhausted(size_t bytes);

  Device device() const { return device_; }
  std::mutex& mutex() { return mutex_; }

 private:
  using Lock = std::unique_lock<std::mutex>;

  void* pop(int index, int* found);
  void* from_system(int index, size_t wanted, Lock& lock);
  void* try_system(int index, Lock& lock);
  bool fits(int64_t bytes) const { return limit_ == 0 || in_use_ + cached_ + bytes <= limit_; }
  void lend(int64_t bytes);
  void keep(int index, void* data);
  void empty_lists();

  const Device device_;
  const int64_t cache_limit_;
  std::mutex mutex_;
  std::array<std::vector<void*>, kClasses> lists_;
  int64_t in_use_ = 0;  // lent to callers and to the threads' caches
  int64_t cached_ = 0;
  int64_t peak_ = 0;
  int64_t limit_ = 0;
  int64_t allocations_ = 0;
  int64_t system_allocations_ = 0;
};

// One pool per device that was asked for; never destroyed. Throws for a device that is not there.
Pool& pool_of(Device device);
void for_each_pool(void (*f)(Pool&));

// Gives back the cached memory of all pools and of this thread, and asks the other threads to do so.
void trim_everything();

// Shared segments (shared.cc).
Block allocate_shared(size_t bytes, Device device);
void release_shared(const Block& block);

}  // namespace mxnet::storage
