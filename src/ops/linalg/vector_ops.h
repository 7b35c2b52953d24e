// SPDX-License-Identifier: Apache-2.0
// Sums over rows for the factorizations. Only for *_isa.cc files.
#pragma once

#include "backend/cpu/simd.h"

namespace mxnet::MX_ISA {

template <typename T>
MX_INLINE T sum_of(Vec<T> v) {
  T total = 0;
  for (int i = 0; i < kLanes<T>; ++i) total += v[i];
  return total;
}

template <typename T>
MX_INLINE T dot(const T* a, const T* b, int64_t n) {
  constexpr int64_t kL = kLanes<T>;
  Vec<T> sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * kL <= n; i += 4 * kL) {
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) sum[u] += load(a + i + u * kL) * load(b + i + u * kL);
  }
  for (; i + kL <= n; i += kL) sum[0] += load(a + i) * load(b + i);
  T total = sum_of<T>((sum[0] + sum[1]) + (sum[2] + sum[3]));
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

// y += factor * x
template <typename T>
MX_INLINE void add_scaled(T factor, const T* x, T* y, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] += factor * x[i];
}

}  // namespace mxnet::MX_ISA
