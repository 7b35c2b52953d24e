// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/halves.h"
#include "backend/cpu/simd.h"

namespace mxnet::MX_ISA {
namespace {

template <typename From, typename To>
void convert_all(const From* from, To* to, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes<float> <= n; i += kLanes<float>) store(to + i, load(from + i));
  for (; i < n; ++i) to[i] = To(static_cast<float>(from[i]));
}

void widen(DType half, const void* from, float* to, int64_t n) {
  if (half == DType::bf16)
    convert_all(static_cast<const bfloat16_t*>(from), to, n);
  else
    convert_all(static_cast<const half_t*>(from), to, n);
}

void narrow(DType half, const float* from, void* to, int64_t n) {
  if (half == DType::bf16)
    convert_all(from, static_cast<bfloat16_t*>(to), n);
  else
    convert_all(from, static_cast<half_t*>(to), n);
}

}  // namespace

const HalfKernels half_kernels_table = {widen, narrow};

}  // namespace mxnet::MX_ISA
