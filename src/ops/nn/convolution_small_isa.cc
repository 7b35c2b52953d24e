// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/convolution_small.h"

#include <algorithm>

#include "backend/cpu/simd.h"

namespace mxnet::MX_ISA {

#if defined(__AVX512F__)
namespace {

constexpr int64_t kV = SmallConv::kVector;
static_assert(kV == kLanes<float>);

// Calls f.template operator()<n>() for the n <= kMax that is asked for.
template <int kMax, typename F>
MX_INLINE void with_count(int64_t n, F&& f) {
  if constexpr (kMax > 1) {
    if (n < kMax) return with_count<kMax - 1>(n, f);
  }
  f.template operator()<kMax>();
}

// Rows of a tile so that its sums, its row of vectors and one broadcast fit into 32 registers.
template <int kWide>
constexpr int kTall = kWide == 6   ? 4
                      : kWide == 5 ? 5
                      : kWide == 4 ? 6
                                   : 8;
constexpr int kWidest = 6;

// Cuts n into nearly equal parts of at most kMost: f<size>(begin).
template <int kMost, typename F>
MX_INLINE void each_part(int64_t n, F&& f) {
  const int64_t parts = (n + kMost - 1) / kMost;
  for (int64_t p = 0; p < parts; ++p) {
    const int64_t begin = p * n / parts, end = (p + 1) * n / parts;
    with_count<kMost>(end - begin, [&]<int kSize>() { f.template operator()<kSize>(begin); });
  }
}

template <int kRows, int kWide>
struct Tile {
  F32 sum[kRows][kWide] = {};

  // sum[i] += a[i] * b for one row of vectors.
  MX_INLINE void step(const float* const* a, int64_t k, const float* b) {
    F32 row[kWide];
#pragma GCC unroll 8
    for (int j = 0; j < kWide; ++j) row[j] = load(b + j * kV);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const F32 x = splat(a[i][k]);
#pragma GCC unroll 8
      for (int j = 0; j < kWide; ++j) sum[i][j] += x * row[j];
    }
  }
  MX_INLINE void step(const float* a, const float* b) {  // a[0 ... kRows)
    F32 row[kWide];
#pragma GCC unroll 8
    for (int j = 0; j < kWide; ++j) row[j] = load(b + j * kV);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const F32 x = splat(a[i]);
#pragma GCC unroll 8
      for (int j = 0; j < kWide; ++j) sum[i][j] += x * row[j];
    }
  }
  MX_INLINE void add_to(int i, float* c) const {
#pragma GCC unroll 8
    for (int j = 0; j < kWide; ++j) store(c + j * kV, load(c + j * kV) + sum[i][j]);
  }
};

// Output places (y ... y + kRows, x) under one row of the window: each spreads a run. The places of a tile lie in
// different rows, so that no two of its runs overlap.
template <int kRows, int kWide>
void spread_tile(const SmallConv& c, const float* dy, int64_t y, int64_t x, const float* packed, float* image) {
  const float* a[kRows];
  for (int i = 0; i < kRows; ++i) a[i] = dy + ((y + i) * c.out_cols + x) * c.filters;
  Tile<kRows, kWide> tile;
  for (int64_t k = 0; k < c.filters; ++k) tile.step(a, k, packed + k * SmallConv::up(c.run()));
  float* to = image + y * c.stride_rows * c.row_size() + x * c.stride_cols * c.channels;
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) tile.add_to(i, to + i * c.stride_rows * c.row_size());
}

void data(const SmallConv& c, const float* dy, const float* packed, float* image) {
  const int64_t width = SmallConv::up(c.run());
  for (int64_t ky = 0; ky < c.kernel_rows; ++ky) {
    each_part<kWidest>(width / kV, [&]<int kWide>(int64_t first) {
      const float* weights = packed + ky * c.filters * width + first * kV;
      float* rows = image + ky * c.row_size() + first * kV;
      for (int64_t x = 0; x < c.out_cols; ++x) {
        each_part<kTall<kWide>>(c.out_rows,
                                [&]<int kRows>(int64_t y) { spread_tile<kRows, kWide>(c, dy, y, x, weights, rows); });
      }
    });
  }
}

// Sums over output rows [y0, y1): elements m ... m + kRows of the run times vectors of filters.
template <int kRows, int kWide>
void run_tile(const SmallConv& c, const float* image, const float* dy, int64_t y0, int64_t y1, float* gradient) {
  const int64_t filters = SmallConv::up(c.filters), step = c.stride_cols * c.channels;
  Tile<kRows, kWide> tile;
  for (int64_t y = y0; y < y1; ++y) {
    const float* a = image + y * c.stride_rows * c.row_size();
    const float* b = dy + y * c.out_cols * filters;
    for (int64_t x = 0; x < c.out_cols; ++x, a += step, b += filters) tile.step(a, b);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) tile.add_to(i, gradient + i * filters);
}

void weights_by_filters(const SmallConv& c, const float* image, const float* dy, float* gradient) {
  const int64_t filters = SmallConv::up(c.filters);
  // As many rows at a time as leave their gradients in the first cache.
  const int64_t rows = std::max<int64_t>(1, 6000 / (c.out_cols * filters));
  for (int64_t y0 = 0; y0 < c.out_rows; y0 += rows) {
    const int64_t y1 = std::min(c.out_rows, y0 + rows);
    for (int64_t ky = 0; ky < c.kernel_rows; ++ky) {
      each_part<kWidest>(filters / kV, [&]<int kWide>(int64_t first) {
        const float* from = image + ky * c.row_size();
        float* to = gradient + ky * c.run() * filters + first * kV;
        each_part<kTall<kWide>>(c.run(), [&]<int kRows>(int64_t m) {
          run_tile<kRows, kWide>(c, from + m, dy + first * kV, y0, y1, to + m * filters);
        });
      });
    }
  }
}

// Filters f ... f + kRows times vectors of the run, over all places of the image.
template <int kRows, int kWide>
void filter_tile(const SmallConv& c, const float* image, const float* dy, float* gradient) {
  const int64_t step = c.stride_cols * c.channels;
  Tile<kRows, kWide> tile;
  for (int64_t y = 0; y < c.out_rows; ++y) {
    const float* b = image + y * c.stride_rows * c.row_size();
    const float* a = dy + y * c.out_cols * c.filters;
    for (int64_t x = 0; x < c.out_cols; ++x, a += c.filters, b += step) tile.step(a, b);
  }
  const int64_t width = SmallConv::up(c.run());
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) tile.add_to(i, gradient + i * width);
}

void weights_by_run(const SmallConv& c, const float* image, const float* dy, float* gradient) {
  const int64_t width = SmallConv::up(c.run());
  for (int64_t ky = 0; ky < c.kernel_rows; ++ky) {
    each_part<kWidest>(width / kV, [&]<int kWide>(int64_t first) {
      const float* from = image + ky * c.row_size() + first * kV;
      float* to = gradient + ky * c.filters * width + first * kV;
      each_part<kTall<kWide>>(
          c.filters, [&]<int kRows>(int64_t f) { filter_tile<kRows, kWide>(c, from, dy + f, to + f * width); });
    });
  }
}

void weights(const SmallConv& c, const float* image, const float* dy, float* gradient) {
  if (c.lanes_are_filters())
    weights_by_filters(c, image, dy, gradient);
  else
    weights_by_run(c, image, dy, gradient);
}

void add_rows(const float* from, int64_t rows, int64_t cols, int64_t step, float* sums) {
  for (int64_t j = 0; j < cols; j += kV) {
    const int64_t n = std::min(kV, cols - j);
    F32 even = load_part(sums + j, n == kV ? kV - 1 : n), odd{};
    if (n == kV) even = load(sums + j);
    const float* p = from + j;
    int64_t r = 0;
    if (n == kV) {
      for (; r + 2 <= rows; r += 2, p += 2 * step) even += load(p), odd += load(p + step);
      if (r < rows) even += load(p);
      store(sums + j, even + odd);
    } else {
      for (; r < rows; ++r, p += step) even += load_part(p, n);
      store_part(sums + j, even, n);
    }
  }
}

}  // namespace

const SmallConvKernels small_conv_kernels_table = {true, data, weights, add_rows};
#else
const SmallConvKernels small_conv_kernels_table = {false, nullptr, nullptr, nullptr};
#endif

}  // namespace mxnet::MX_ISA
