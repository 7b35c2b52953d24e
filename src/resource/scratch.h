// SPDX-License-Identifier: Apache-2.0
// Temporary memory of a running kernel. Each thread has one arena that grows once to what its largest kernel needs.
#pragma once

#include <cstddef>

namespace mxnet {

// Takes memory from the arena of this thread; gives all of it back when it goes out of scope. Scopes nest.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // 64-byte aligned, uninitialized, valid until this object dies; never null.
  void* bytes(size_t n);
  template <typename T>
  T* get(size_t n) {
    return static_cast<T*>(bytes(n * sizeof(T)));
  }

 private:
  size_t saved_block_;
  size_t saved_used_;
};

// Bytes that this thread's arena holds, and giving them back (no Scratch may be alive on this thread).
size_t scratch_capacity();
void release_scratch();

}  // namespace mxnet
