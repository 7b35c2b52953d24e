// SPDX-License-Identifier: Apache-2.0
// What a prologue made, and of what: valid while every array it read is the same chunk, in the same version.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "ndarray/ndarray.h"

namespace mxnet {

// Safe on several threads. A caller whose arrays do not match what is kept makes a set of its own and leaves it here:
// a set that somebody may still read is never written again.
class Constants {
 public:
  // `slots`: the inputs that the prologue reads. `bytes`: of its results.
  Constants() = default;
  void configure(std::vector<size_t> slots, size_t bytes) {
    slots_ = std::move(slots);
    bytes_ = bytes;
  }

  struct Lookup {
    NDArray memory;
    bool valid = false;  // else the prologue has to fill it ...
    bool keep = false;   // ... and `store` may be called once that is queued
    std::vector<uint64_t> key;
  };
  Lookup find(std::span<const NDArray* const> inputs, Device device);
  void store(Lookup made);

 private:
  bool matches(std::span<const NDArray* const> inputs) const;

  std::vector<size_t> slots_;
  size_t bytes_ = 0;
  std::mutex mutex_;
  std::vector<uint64_t> key_;  // three words per slot
  NDArray kept_;
};

// Set by the last step of a prologue: one that failed, or was not run because an array bears an error, left no mark.
inline constexpr size_t kMarkBytes = 64;
void mark_constants_made(void* memory, size_t bytes);

}  // namespace mxnet
