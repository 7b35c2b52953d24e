// SPDX-License-Identifier: Apache-2.0
// BatchNorm on rows of channels (channels-last activations, dense features): vectors along the channels.
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"
#include "base/dtype.h"

namespace mxnet {

// x, y, dy, dx: rows x channels of one dtype, float32 or a half; everything else is float32, one per channel. `fold` is
// what y = (x - mean) * scale + shift becomes: relu, or a sum with `other` before it.
struct NormRows {
  DType dtype;
  int64_t rows, channels;
  const void *x, *other;  // other: null, or added before the relu
  const float *mean, *scale, *shift;
  bool relu;
};

struct BatchNormKernels {
  int64_t lanes;  // fewer channels than that leave vectors empty
  // sum[c] and squares[c] of x - mean.
  void (*moments)(const NormRows& r, float* sum, float* squares);
  void (*normalize)(const NormRows& r, void* y);
  // sum[c] of dy and dot[c] of dy * (x - mean), where relu (if any) let x pass.
  void (*gradient_sums)(const NormRows& r, const void* dy, float* sum, float* dot);
  // dx = slope * dy + (x - mean) * tilt + bias, dy as above.
  void (*gradient)(const NormRows& r, const void* dy, const float* slope, const float* tilt, const float* bias,
                   void* dx);
};
MX_ISA_TABLE(BatchNormKernels, batch_norm_kernels)

}  // namespace mxnet
