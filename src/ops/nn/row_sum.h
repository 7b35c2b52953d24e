// SPDX-License-Identifier: Apache-2.0
// Sums of rows: the gradient of a bias (over all axes but one), of an Embedding (over equal indices).
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"
#include "base/dtype.h"

namespace mxnet {

struct RowSumKernels {
  // to[j] (+)= sum over r < count of from[(order ? order[r] : r) * step + j], j < width; rows in their order.
  void (*rows)(DType dtype, const void* from, const int64_t* order, int64_t count, int64_t step, int64_t width,
               void* to, bool add);
  // The sum over o < outer of the `inner` elements at from + o * step.
  double (*planes)(DType dtype, const void* from, int64_t outer, int64_t step, int64_t inner);
};
MX_ISA_TABLE(RowSumKernels, row_sum_kernels)

namespace nn {

// to[c] (+)= sum over outer o and inner i of from[o][c][i]; floating point dtypes.
void sum_to_channels(const void* from, void* to, DType dtype, int64_t outer, int64_t channels, int64_t inner, bool add);

}  // namespace nn
}  // namespace mxnet
