// SPDX-License-Identifier: Apache-2.0
// Bilinear interpolation as four weighted pixels, and sums of such points for all channels of an image whose channels
// are last in memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "backend/cpu/isa_table.h"

namespace mxnet::vision {

// Pixels count row by row. A point that is outside has weights of 0.
template <typename T>
struct Tap {
  int32_t at[4];
  T weight[4];
};

// The four pixels around a point; those that are outside count as 0. NaN stays NaN.
template <typename T>
Tap<T> zero_padded_tap(T y, T x, int64_t height, int64_t width) {
  const T y0 = std::floor(y), x0 = std::floor(x);
  const T fy = y - y0, fx = x - x0;
  const T wy[2] = {1 - fy, fy}, wx[2] = {1 - fx, fx};
  Tap<T> tap{};
  for (int k = 0; k < 4; ++k) {
    const T yk = y0 + T(k / 2), xk = x0 + T(k % 2);
    const bool inside = yk >= 0 && yk < T(height) && xk >= 0 && xk < T(width);
    if (inside) tap.at[k] = static_cast<int32_t>(static_cast<int64_t>(yk) * width + static_cast<int64_t>(xk));
    tap.weight[k] = inside || wy[k / 2] * wx[k % 2] != wy[k / 2] * wx[k % 2] ? wy[k / 2] * wx[k % 2] : T(0);
  }
  return tap;
}

// The same for a point whose coordinates are moved to the nearest pixel of the image first; below `low` or above
// `high` it counts as 0.
template <typename T>
[[gnu::always_inline]] inline Tap<T> clamped_tap(T y, T x, int64_t height, int64_t width, T low, T high_y, T high_x) {
  Tap<T> tap{};
  if (!(y >= low && y <= high_y && x >= low && x <= high_x)) return tap;
  const auto axis = [](T v, int64_t n, int64_t* at, T* w) {
    v = std::min(std::max(v, T(0)), T(n - 1));
    at[0] = static_cast<int64_t>(v);
    at[1] = std::min(at[0] + 1, n - 1);
    w[1] = v - T(at[0]);
    w[0] = 1 - w[1];
  };
  int64_t ya[2], xa[2];
  T wy[2], wx[2];
  axis(y, height, ya, wy);
  axis(x, width, xa, wx);
  for (int k = 0; k < 4; ++k) {
    tap.at[k] = static_cast<int32_t>(ya[k / 2] * width + xa[k % 2]);
    tap.weight[k] = wy[k / 2] * wx[k % 2];
  }
  return tap;
}

template <typename T>
struct TapKernels {
  // sum[c] = scale * (sum over taps and their pixels of weight * map[pixel * step + c]), c < channels.
  void (*gather)(const T* map, int64_t step, const Tap<T>* taps, int64_t n, T scale, int64_t channels, T* sum);
  // sums[k] += sum over c < channels of head[c] * map[pixel k of the tap * step + c].
  void (*dots)(const T* map, int64_t step, const Tap<T>& tap, const T* head, int64_t channels, T* sums);
  // map[pixel * step + c] += scale * weight * value[c]
  void (*scatter)(const T* value, const Tap<T>* taps, int64_t n, T scale, int64_t channels, T* map, int64_t step);
};
struct TapTable {
  TapKernels<float> f32;
  TapKernels<double> f64;
  template <typename T>
  const TapKernels<T>& of() const {
    if constexpr (std::is_same_v<T, float>)
      return f32;
    else
      return f64;
  }
};

}  // namespace mxnet::vision

namespace mxnet {
MX_ISA_TABLE(vision::TapTable, tap_table)
}  // namespace mxnet
