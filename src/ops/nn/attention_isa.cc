// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/attention.h"

#include <cmath>
#include <limits>

#include "backend/cpu/simd_math.h"

namespace mxnet::MX_ISA {
namespace {

constexpr int kWidth = kLanes<float>;

// Calls f(vector, position, lanes) along a row; the lanes past the end hold `fill`.
template <typename F>
MX_INLINE void each(const float* row, int64_t n, float fill, F f) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) f(load(row + i), i, kWidth);
  if (i == n) return;
  F32 rest = load_part(row + i, n - i);
  for (int l = static_cast<int>(n - i); l < kWidth; ++l) rest[l] = fill;
  f(rest, i, static_cast<int>(n - i));
}
MX_INLINE void put(float* to, F32 v, int lanes) {
  if (lanes == kWidth)
    store(to, v);
  else
    store_part(to, v, lanes);
}

void exponentials(float* scores, int64_t rows, int64_t n, int64_t ld, float* log_sum, float* inverse) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  for (int64_t r = 0; r < rows; ++r, scores += ld) {
    F32 top = splat(kLowest), sum{};
    each(scores, n, kLowest, [&](F32 v, int64_t, int) { top = vmax(v, top); });
    const float most = fold(top, [](F32 a, F32 b) { return vmax(a, b); });
    each(scores, n, kLowest, [&](F32 v, int64_t i, int lanes) {
      const F32 e = vexp(v - most);
      put(scores + i, e, lanes);
      sum += e;  // next to nothing in lanes past the end
    });
    const float total = fold(sum, [](F32 a, F32 b) { return a + b; });
    log_sum[r] = most + std::log(total);
    inverse[r] = 1.0f / total;
  }
}

void scale_rows(float* data, int64_t rows, int64_t n, int64_t ld, const float* factors) {
  for (int64_t r = 0; r < rows; ++r, data += ld) {
    each(data, n, 0.0f, [&](F32 v, int64_t i, int lanes) { put(data + i, v * factors[r], lanes); });
  }
}

void gradient(float* scores, float* grad, int64_t rows, int64_t n, int64_t ld, const float* log_sum, const float* dots,
              float scale) {
  for (int64_t r = 0; r < rows; ++r, scores += ld, grad += ld) {
    each(scores, n, 0.0f, [&](F32 v, int64_t i, int lanes) {
      const F32 p = vexp(v - log_sum[r]);
      const F32 g = lanes == kWidth ? load(grad + i) : load_part(grad + i, lanes);
      put(scores + i, p, lanes);
      put(grad + i, p * (g - dots[r]) * scale, lanes);
    });
  }
}

float dot(const float* a, const float* b, int64_t n) {
  F32 sum{};
  each(a, n, 0.0f,
       [&](F32 v, int64_t i, int lanes) { sum += v * (lanes == kWidth ? load(b + i) : load_part(b + i, lanes)); });
  return fold(sum, [](F32 x, F32 y) { return x + y; });
}

}  // namespace

const AttentionKernels attention_kernels_table = {exponentials, scale_rows, gradient, dot};

}  // namespace mxnet::MX_ISA
