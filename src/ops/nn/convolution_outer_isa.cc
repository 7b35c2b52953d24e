// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/convolution_outer.h"

#include "backend/cpu/simd.h"

namespace mxnet::MX_ISA {
namespace {

// A tile's sums, its two vectors of lanes and one broadcast fit in the registers.
#if defined(__AVX512F__)
constexpr int kRows = 12;
#else
constexpr int kRows = 6;
#endif
constexpr int kV = kLanes<float>;
constexpr int kWidth = 2 * kV;

template <int kCount>
void accumulate_rows(const OuterPlaces& p, float* sums) {
  F32 sum[kCount][2];
#pragma GCC unroll 12
  for (int i = 0; i < kCount; ++i) {
    sum[i][0] = load(sums + i * kWidth);
    sum[i][1] = load(sums + i * kWidth + kV);
  }
  for (int64_t l = 0; l < p.lines; ++l) {
    const float* a = p.rows + l * p.rows_line;
    const float* b = p.lanes + l * p.lanes_line;
    for (int64_t x = 0; x < p.cols; ++x, a += p.rows_step, b += p.lanes_step) {
      const F32 low = load(b), high = load(b + kV);
#pragma GCC unroll 12
      for (int i = 0; i < kCount; ++i) {
        const F32 v = splat(a[i]);
        sum[i][0] += v * low;
        sum[i][1] += v * high;
      }
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kCount; ++i) {
    store(sums + i * kWidth, sum[i][0]);
    store(sums + i * kWidth + kV, sum[i][1]);
  }
}

template <int kCount>
void accumulate_up_to(const OuterPlaces& p, int64_t count, float* sums) {
  if constexpr (kCount > 1) {
    if (count < kCount) return accumulate_up_to<kCount - 1>(p, count, sums);
  }
  accumulate_rows<kCount>(p, sums);
}

void accumulate(const OuterPlaces& p, int64_t count, float* sums) { accumulate_up_to<kRows>(p, count, sums); }

template <int kPanel>
void pack(const float* from, int64_t places, int64_t step, int64_t width, float* to, int64_t panel) {
  for (int64_t p = 0; p < places; ++p, from += step, to += kPanel) {
    float* at = to;
    int64_t i = 0;
    for (; i + kPanel <= width; i += kPanel, at += panel) __builtin_memcpy(at, from + i, kPanel * sizeof(float));
    if (i == width) continue;
    for (int64_t j = 0; j < kPanel; ++j) at[j] = i + j < width ? from[i + j] : 0.0f;
  }
}

}  // namespace

const OuterKernels outer_kernels_table = {kRows, kWidth, accumulate, pack<kRows>, pack<kWidth>};

}  // namespace mxnet::MX_ISA
