// SPDX-License-Identifier: Apache-2.0
// float16 and bfloat16 to float32 and back, for kernels that compute in float32. Rounds to the nearest, ties to even;
// NaN stays NaN.
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"
#include "base/dtype.h"

namespace mxnet {

struct HalfKernels {
  void (*widen)(DType half, const void* from, float* to, int64_t n);
  void (*narrow)(DType half, const float* from, void* to, int64_t n);
};
MX_ISA_TABLE(HalfKernels, half_kernels)

namespace cpu {

// On the team of threads.
void widen(DType half, const void* from, float* to, int64_t n);
void narrow(DType half, const float* from, void* to, int64_t n);

// Nanoseconds on one thread.
inline int64_t convert_cost(int64_t n) { return n / 4; }

}  // namespace cpu
}  // namespace mxnet
