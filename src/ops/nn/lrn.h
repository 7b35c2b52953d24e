// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"
#include "base/dtype.h"

namespace mxnet {

// Data as (batch, channels, inner): y = x * base^-beta, base = knorm + factor * sum of the squares of the channels at
// most `half` away.
struct LrnView {
  static constexpr int64_t kPositions = 128;  // of one image that are worked on together

  int64_t batch, channels, inner, half;
  float knorm, factor, beta;

  int64_t blocks() const { return (inner + kPositions - 1) / kPositions; }
  int64_t units() const { return batch * blocks(); }
};

struct LrnKernels {
  // Units [begin, end); base may be null.
  void (*forward)(const LrnView& view, DType dtype, const void* x, void* y, void* base, int64_t begin, int64_t end);
  void (*backward)(const LrnView& view, DType dtype, const void* dy, const void* x, const void* base, void* dx,
                   int64_t begin, int64_t end);
};
MX_ISA_TABLE(LrnKernels, lrn_kernels)

}  // namespace mxnet
