// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"
#include "base/dtype.h"

namespace mxnet {

// Rows of n numbers. `norm` is the logarithm of the sum of exponentials of each row, in double for float64, else in
// float.
struct PickLogSoftmaxKernels {
  // out[r] = x[r][index[r]] - norm[r] for r in [begin, end).
  void (*forward)(DType dtype, const void* x, int64_t n, const int64_t* index, void* out, void* norm, int64_t begin,
                  int64_t end);
  // dx[r][i] (+)= dy[r] * ((i == index[r]) - exp(x[r][i] - norm[r])). dx may be x.
  void (*backward)(DType dtype, const void* x, int64_t n, const int64_t* index, const void* norm, const void* dy,
                   void* dx, bool add, int64_t begin, int64_t end);
};
MX_ISA_TABLE(PickLogSoftmaxKernels, pick_log_softmax_kernels)

}  // namespace mxnet
