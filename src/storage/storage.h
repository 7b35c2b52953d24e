// SPDX-License-Identifier: Apache-2.0
// Memory for arrays: blocks of size classes, kept when released and used again without a system call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/device.h"

namespace mxnet::storage {

inline constexpr size_t kAlignment = 64;

struct Block {
  void* data = nullptr;  // 64-byte aligned; never null after allocate, even for 0 bytes
  size_t capacity = 0;   // usable bytes, at least what was asked for
  Device device;
  void* handle = nullptr;  // of the pool that made it
};

// Contents are undefined (NaN bytes under MXNET_DEBUG_POISON). Throws Error(memory) when neither the limit nor the
// system allow it, after the cache was given back and queued work was waited for; Error(generic) for a device that is
// not there.
Block allocate(size_t bytes, Device device);

// From any thread. The block returns to the pool of its device.
void release(const Block& block);

struct Stats {
  int64_t in_use = 0;              // bytes of blocks that are out, by capacity
  int64_t cached = 0;              // bytes kept for later use
  int64_t peak = 0;                // largest in_use so far; blocks in the threads' small caches count as in use here
  int64_t limit = 0;               // of in_use + cached; 0 = none
  int64_t allocations = 0;         // calls of allocate
  int64_t system_allocations = 0;  // of these, how many went to the operating system
};

Stats stats(Device device);
void reset_peak(Device device);

// Bounds in_use + cached of the device's pool; 0 = no bound. Blocks that are out already stay out.
void set_limit(Device device, int64_t bytes);

// Gives cached memory back to the system. What sits in the small caches of other threads (at most 2 MiB each) follows
// at their next call.
void trim();

// ---- memory shared between processes (cpu_shared) ---------------------------------------------------------------
// A segment lives as long as any process holds a reference; the last one removes its name.

// Takes a reference on behalf of the receiver and returns the segment's name; the receiver owns that reference by
// attaching. Throws Error(value) if the block is not shared memory.
std::string share(const Block& block);

// Maps a segment that another process (or this one) has shared, taking over the reference that share() took.
// Throws Error(os) if there is no such segment, Error(value) if it is smaller than `bytes`.
Block attach(const std::string& name, size_t bytes, Device device);

// Removes the names of segments that process `pid` made and that nobody attached, after it died.
void remove_shared_of(int pid);

}  // namespace mxnet::storage
