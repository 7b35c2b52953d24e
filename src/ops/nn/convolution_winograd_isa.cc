// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/convolution_winograd.h"

#include "backend/cpu/simd.h"

namespace mxnet::MX_ISA {
namespace {

constexpr int kV = kLanes<float>;
constexpr int kWidth = 2 * kV;
#if defined(__AVX512F__)
constexpr int kRows = 12;
#else
constexpr int kRows = 6;
#endif

// The interpolation points are 0, 1, -1, 2, -2 and infinity.
MX_INLINE void transform_filter(const F32* g, F32* u) {  // 3 -> 6
  const F32 even = (g[0] + g[2]) * splat(-1.0f / 6), odd = g[1] * splat(1.0f / 6);
  const F32 far = g[0] * splat(1.0f / 24) + g[2] * splat(1.0f / 6), near = g[1] * splat(1.0f / 12);
  u[0] = g[0] * splat(0.25f);
  u[1] = even - odd;
  u[2] = even + odd;
  u[3] = far + near;
  u[4] = far - near;
  u[5] = g[2];
}

MX_INLINE void transform_input(const F32* d, F32* v) {  // 6 -> 6
  const F32 two = splat(2.0f), four = splat(4.0f), five = splat(5.0f);
  const F32 a = d[4] - four * d[2], b = d[3] - four * d[1];
  const F32 c = d[4] - d[2], e = two * (d[3] - d[1]);
  v[0] = four * d[0] - five * d[2] + d[4];
  v[1] = a + b;
  v[2] = a - b;
  v[3] = c + e;
  v[4] = c - e;
  v[5] = four * d[1] - five * d[3] + d[5];
}

MX_INLINE void transform_output(const F32* m, F32* y) {  // 6 -> 4
  const F32 a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  y[0] = m[0] + a + c;
  y[1] = b + splat(2.0f) * d;
  y[2] = a + splat(4.0f) * c;
  y[3] = b + splat(8.0f) * d + m[5];
}

MX_INLINE void transform_gradient(const F32* g, F32* u) {  // 4 -> 6, as the filter of a window of 4
  const F32 even = (g[0] + g[2]) * splat(-1.0f / 6), odd = (g[1] + g[3]) * splat(1.0f / 6);
  const F32 far = g[0] * splat(1.0f / 24) + g[2] * splat(1.0f / 6),
            near = g[1] * splat(1.0f / 12) + g[3] * splat(1.0f / 3);
  u[0] = g[0] * splat(0.25f);
  u[1] = even - odd;
  u[2] = even + odd;
  u[3] = far + near;
  u[4] = far - near;
  u[5] = g[3];
}

MX_INLINE void transform_window(const F32* m, F32* y) {  // 6 -> 3
  const F32 a = m[1] + m[2], c = m[3] + m[4];
  y[0] = m[0] + a + c;
  y[1] = (m[1] - m[2]) + splat(2.0f) * (m[3] - m[4]);
  y[2] = a + splat(4.0f) * c + m[5];
}

void weights(const float* w, int64_t filter_step, int64_t channel_step, bool flip, int64_t channels, float* to,
             int64_t point_step) {
  for (int64_t c = 0; c < channels; ++c) {
    for (int half = 0; half < 2; ++half) {
      F32 g[9], rows[3 * 6], u[6];
      for (int i = 0; i < 9; ++i) {
        const float* from = w + half * kV * filter_step + c * channel_step + (flip ? 8 - i : i);
        for (int lane = 0; lane < kV; ++lane) g[i][lane] = from[lane * filter_step];
      }
      for (int r = 0; r < 3; ++r) transform_filter(g + 3 * r, rows + 6 * r);
      for (int x = 0; x < 6; ++x) {
        const F32 column[3] = {rows[x], rows[6 + x], rows[12 + x]};
        transform_filter(column, u);
        for (int y = 0; y < 6; ++y) store(to + (6 * y + x) * point_step + c * kWidth + half * kV, u[y]);
      }
    }
  }
}

MX_INLINE F32 load_or_zero(const float* pixel, int64_t at) { return pixel ? load(pixel + at) : F32{}; }

void input(const float* const* pixels, int64_t channels, float* to, int64_t point_step, int64_t panel_step) {
  for (int64_t c = 0; c < channels; c += kV) {
    float* panel = to + c / kWidth * panel_step + c % kWidth;
    F32 rows[36], d[6], v[6];
#pragma GCC unroll 6
    for (int y = 0; y < 6; ++y) {
#pragma GCC unroll 6
      for (int x = 0; x < 6; ++x) d[x] = load_or_zero(pixels[6 * y + x], c);
      transform_input(d, rows + 6 * y);
    }
#pragma GCC unroll 6
    for (int x = 0; x < 6; ++x) {
#pragma GCC unroll 6
      for (int y = 0; y < 6; ++y) d[y] = rows[6 * y + x];
      transform_input(d, v);
#pragma GCC unroll 6
      for (int y = 0; y < 6; ++y) store(panel + (6 * y + x) * point_step, v[y]);
    }
  }
}

template <int kCount>
void multiply_rows(const float* tiles, int64_t channels, const float* panel, float* to) {
  F32 sum[kCount][2] = {};
  for (int64_t c = 0; c < channels; ++c, panel += kWidth) {
    const F32 low = load(panel), high = load(panel + kV);
#pragma GCC unroll 12
    for (int i = 0; i < kCount; ++i) {
      const F32 v = splat(tiles[i * channels + c]);
      sum[i][0] += v * low;
      sum[i][1] += v * high;
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kCount; ++i) {
    store(to + i * kWidth, sum[i][0]);
    store(to + i * kWidth + kV, sum[i][1]);
  }
}

template <int kCount>
void multiply_up_to(const float* tiles, int64_t count, int64_t channels, const float* panel, float* to) {
  if constexpr (kCount > 1) {
    if (count < kCount) return multiply_up_to<kCount - 1>(tiles, count, channels, panel, to);
  }
  multiply_rows<kCount>(tiles, channels, panel, to);
}

void multiply(const float* tiles, int64_t count, int64_t channels, const float* panel, float* to) {
  int64_t i = 0;
  for (; i + kRows <= count; i += kRows) multiply_rows<kRows>(tiles + i * channels, channels, panel, to + i * kWidth);
  if (i < count) multiply_up_to<kRows>(tiles + i * channels, count - i, channels, panel, to + i * kWidth);
}

void output(const float* from, int64_t point_step, const float* bias, float* const* pixels) {
  for (int half = 0; half < 2; ++half, from += kV) {
    F32 rows[6 * 4], m[6], y[4];
#pragma GCC unroll 6
    for (int r = 0; r < 6; ++r) {
#pragma GCC unroll 6
      for (int x = 0; x < 6; ++x) m[x] = load(from + (6 * r + x) * point_step);
      transform_output(m, rows + 4 * r);
    }
    const F32 base = bias ? load(bias + half * kV) : F32{};
#pragma GCC unroll 4
    for (int x = 0; x < 4; ++x) {
#pragma GCC unroll 6
      for (int r = 0; r < 6; ++r) m[r] = rows[4 * r + x];
      transform_output(m, y);
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) {
        if (float* to = pixels[4 * r + x]) store(to + half * kV, y[r] + base);
      }
    }
  }
}

void gradient(const float* const* pixels, int64_t filters, float* to, int64_t point_step) {
  for (int64_t k = 0; k < filters; k += kV) {
    F32 rows[4 * 6], g[4], u[6];
#pragma GCC unroll 4
    for (int y = 0; y < 4; ++y) {
#pragma GCC unroll 4
      for (int x = 0; x < 4; ++x) g[x] = load_or_zero(pixels[4 * y + x], k);
      transform_gradient(g, rows + 6 * y);
    }
#pragma GCC unroll 6
    for (int x = 0; x < 6; ++x) {
#pragma GCC unroll 4
      for (int y = 0; y < 4; ++y) g[y] = rows[6 * y + x];
      transform_gradient(g, u);
#pragma GCC unroll 6
      for (int y = 0; y < 6; ++y) store(to + (6 * y + x) * point_step + k, u[y]);
    }
  }
}

void window(const float* from, int64_t point_step, float* to) {
  for (int half = 0; half < 2; ++half, from += kV, to += 9 * kV) {
    F32 rows[6 * 3], m[6], y[3];
    for (int r = 0; r < 6; ++r) {
      for (int x = 0; x < 6; ++x) m[x] = load(from + (6 * r + x) * point_step);
      transform_window(m, rows + 3 * r);
    }
    for (int x = 0; x < 3; ++x) {
      for (int r = 0; r < 6; ++r) m[r] = rows[3 * r + x];
      transform_window(m, y);
      for (int r = 0; r < 3; ++r) {
        for (int lane = 0; lane < kV; ++lane) to[9 * lane + 3 * r + x] = y[r][lane];
      }
    }
  }
}

}  // namespace

const WinogradKernels winograd_kernels_table = {kWidth, kRows, weights, input, multiply, output, gradient, window};

}  // namespace mxnet::MX_ISA
