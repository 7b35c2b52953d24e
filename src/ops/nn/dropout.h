// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"
#include "base/dtype.h"
#include "resource/random.h"

namespace mxnet {

struct DropoutKernels {
  // to[i] = 1 with probability 1 - threshold / 2^24, else 0, for i in [begin, end); begin is a multiple of kMaskGroup.
  void (*mask)(const random::Stream& stream, uint32_t threshold, uint8_t* to, int64_t begin, int64_t end);
  // y[i] = keep[i] ? x[i] * scale : 0.
  void (*scale_kept)(DType dtype, const void* x, const uint8_t* keep, void* y, float scale, int64_t begin, int64_t end);
};
MX_ISA_TABLE(DropoutKernels, dropout_kernels)

inline constexpr int64_t kMaskGroup = 64;  // elements that share a block of 16 counters

}  // namespace mxnet
