// SPDX-License-Identifier: Apache-2.0
// Products of blocks and temporary memory, for code that works on windows of matrices.
#pragma once

#include "backend/cpu/block_gemm.h"
#include "resource/scratch.h"

namespace mxnet::linalg {

// Over the team where it is worth it; the result does not depend on it.
void multiply(const BlockProduct<float>& product);
void multiply(const BlockProduct<double>& product);

// Memory of this thread, not initialized, until the scope ends.
template <typename T>
class ScratchArray {
 public:
  explicit ScratchArray(int64_t count) : data_(scratch_.get<T>(static_cast<size_t>(count))) {}
  T* data() const { return data_; }
  operator T*() const { return data_; }

 private:
  Scratch scratch_;
  T* data_;
};

}  // namespace mxnet::linalg
