// SPDX-License-Identifier: Apache-2.0
#include "ops/image/resize_loops.h"

#include <algorithm>
#include <cmath>

namespace mxnet::MX_ISA {
namespace {

// ---- along the width -----------------------------------------------------------------------------------------------

template <int Taps, typename T, typename Work>
void along_taps(const T* __restrict in, const int32_t* __restrict index, const Work* __restrict weight,
                Work* __restrict out, int64_t width) {
  for (int64_t x = 0; x < width; ++x) {
    Work red = 0, green = 0, blue = 0;
#pragma GCC unroll 8
    for (int k = 0; k < Taps; ++k) {
      const T* pixel = in + int64_t{index[x * Taps + k]} * 3;
      const Work w = weight[x * Taps + k];
      red += static_cast<Work>(pixel[0]) * w;
      green += static_cast<Work>(pixel[1]) * w;
      blue += static_cast<Work>(pixel[2]) * w;
    }
    out[3 * x] = red;
    out[3 * x + 1] = green;
    out[3 * x + 2] = blue;
  }
}

template <typename T, typename Work>
void along(const T* in, const int32_t* index, const Work* weight, int64_t taps, Work* out, int64_t width) {
  switch (taps) {
    case 2: return along_taps<2>(in, index, weight, out, width);
    case 4: return along_taps<4>(in, index, weight, out, width);
    default: return along_taps<8>(in, index, weight, out, width);
  }
}

// ---- across rows ---------------------------------------------------------------------------------------------------

void store(float sum, float& out) { out = sum; }
void store(float sum, uint8_t& out) {
  out = static_cast<uint8_t>(static_cast<int32_t>(std::min(std::max(std::nearbyint(sum), 0.0f), 255.0f)));
}

template <int Taps, typename T>
void across_taps(const float* const* rows, const float* weight, T* __restrict out, int64_t n) {
  const float* __restrict row[Taps];
  float w[Taps];
  std::copy(rows, rows + Taps, row);
  std::copy(weight, weight + Taps, w);
  constexpr int64_t kBlock = 64;
  float sums[kBlock];
  for (int64_t from = 0; from < n; from += kBlock) {
    const int64_t count = std::min(kBlock, n - from);
    for (int64_t i = 0; i < count; ++i) {
      float sum = 0;
#pragma GCC unroll 8
      for (int k = 0; k < Taps; ++k) sum += row[k][from + i] * w[k];
      sums[i] = sum;
    }
    for (int64_t i = 0; i < count; ++i) store(sums[i], out[from + i]);
  }
}

template <typename T>
void across_any(const float* const* rows, const float* weight, int64_t taps, T* out, int64_t n) {
  constexpr int64_t kBlock = 256;
  float sums[kBlock];
  for (int64_t from = 0; from < n; from += kBlock) {
    const int64_t count = std::min(kBlock, n - from);
    std::fill(sums, sums + count, 0.0f);
    for (int64_t k = 0; k < taps; ++k) {
      const float* row = rows[k] + from;
      for (int64_t i = 0; i < count; ++i) sums[i] += row[i] * weight[k];
    }
    for (int64_t i = 0; i < count; ++i) store(sums[i], out[from + i]);
  }
}

template <typename T>
void across(const float* const* rows, const float* weight, int64_t taps, T* out, int64_t n) {
  switch (taps) {
    case 2: return across_taps<2>(rows, weight, out, n);
    case 4: return across_taps<4>(rows, weight, out, n);
    case 8: return across_taps<8>(rows, weight, out, n);
    default: return across_any(rows, weight, taps, out, n);
  }
}

void across_fixed(const int32_t* const* rows, const int32_t* weight, uint8_t* __restrict out, int64_t n) {
  const int32_t* __restrict a = rows[0], * __restrict b = rows[1];
  const int32_t u = weight[0], v = weight[1];
  for (int64_t i = 0; i < n; ++i) {
    out[i] = static_cast<uint8_t>((((u * (a[i] >> 4)) >> 16) + ((v * (b[i] >> 4)) >> 16) + 2) >> 2);
  }
}

}  // namespace

extern const ResizeLoops resize_loops_table;
const ResizeLoops resize_loops_table = {along<uint8_t, float>, along<uint8_t, int32_t>, along<float, float>,
                                        across<uint8_t>,       across<float>,           across_fixed};

}  // namespace mxnet::MX_ISA
