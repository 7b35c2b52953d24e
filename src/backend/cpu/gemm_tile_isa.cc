// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/gemm_tile.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "backend/cpu/simd_math.h"

namespace mxnet::MX_ISA {
namespace {

// A tile of c is kRows by two vectors, kept in registers: as many sums as these leave room for beside two vectors of b
// and one element of a.
#if defined(__AVX512F__)
constexpr int kRows = 14;
#elif defined(__AVX2__)
constexpr int kRows = 6;
#else
constexpr int kRows = 4;
#endif
constexpr int kWidth = kLanes<float>;
constexpr int kCols = 2 * kWidth;

// ---- packing --------------------------------------------------------------------------------------------------------
template <int W>
MX_INLINE void exchange(F32& x, F32& y) {  // halves of width W: (x0 x1) (y0 y1) -> (x0 y0) (x1 y1)
  I32 low{}, high{};
  for (int i = 0; i < kWidth; ++i) {
    low[i] = i & W ? kWidth + i - W : i;
    high[i] = i & W ? kWidth + i : i + W;
  }
  const F32 first = __builtin_shuffle(x, y, low);
  y = __builtin_shuffle(x, y, high);
  x = first;
}
template <int W>
MX_INLINE void transpose(F32 (&rows)[kWidth]) {
  if constexpr (W > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; ++i) {
      if (!(i & W)) exchange<W>(rows[i], rows[i + W]);
    }
    transpose<W / 2>(rows);
  }
}

void pack_any(const float* from, int64_t column_step, int64_t depth_step, int64_t columns, int64_t depth, float* to) {
  for (int64_t d = 0; d < depth; ++d) {
    for (int64_t j = 0; j < kCols; ++j) to[d * kCols + j] = j < columns ? from[j * column_step + d * depth_step] : 0.0f;
  }
}

// One full panel whose columns lie next to each other.
void pack_rows(const float* from, int64_t depth_step, int64_t depth, float* to) {
  for (int64_t d = 0; d < depth; ++d, from += depth_step, to += kCols) {
    store(to, load(from));
    store(to + kWidth, load(from + kWidth));
  }
}

// One full panel whose depths lie next to each other: square blocks are transposed.
void pack_columns(const float* from, int64_t column_step, int64_t depth, float* to) {
  int64_t d = 0;
  for (; d + kWidth <= depth; d += kWidth) {
    for (int half = 0; half < kCols; half += kWidth) {
      F32 block[kWidth];
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) block[i] = load(from + (half + i) * column_step + d);
      transpose<kWidth / 2>(block);
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) store(to + (d + i) * kCols + half, block[i]);
    }
  }
  pack_any(from + d, column_step, 1, kCols, depth - d, to + d * kCols);
}

void pack(const float* from, int64_t column_step, int64_t depth_step, int64_t columns, int64_t depth, float* to) {
  for (int64_t j = 0; j < columns; j += kCols, from += kCols * column_step, to += kCols * depth) {
    const int64_t own = std::min<int64_t>(kCols, columns - j);
    if (own == kCols && column_step == 1)
      pack_rows(from, depth_step, depth, to);
    else if (own == kCols && depth_step == 1)
      pack_columns(from, column_step, depth, to);
    else
      pack_any(from, column_step, depth_step, own, depth, to);
  }
}

void pack_left(const float* from, int64_t depth_step, int64_t rows, int64_t depth, float* to) {
  constexpr int kReach = (kRows + kWidth - 1) / kWidth * kWidth;  // whole vectors: the next depth overwrites the rest
  for (int64_t i = 0; i < rows; i += kRows, to += kRows * depth) {
    const int64_t own = std::min<int64_t>(kRows, rows - i);
    const bool whole = i + kReach <= rows;
    for (int64_t d = 0; d < depth; ++d) {
      const float* p = from + i + d * depth_step;
      float* q = to + d * kRows;
      if (whole && d + 3 < depth) {
        for (int l = 0; l < kReach; l += kWidth) store(q + l, load(p + l));
      } else {
        for (int64_t r = 0; r < kRows; ++r) q[r] = r < own ? p[r] : 0.0f;
      }
    }
  }
}

// ---- when sums are complete -----------------------------------------------------------------------------------------
template <Activation A>
MX_INLINE F32 activate(F32 x, F32 low, F32 high) {
  if constexpr (A == Activation::relu) return x < 0.0f ? F32{} : x;
  if constexpr (A == Activation::clip) return x < low ? low : x > high ? high : x;
  if constexpr (A == Activation::gelu) return vgelu(x);
  if constexpr (A == Activation::tanh) return vtanh(x);
  if constexpr (A == Activation::sigmoid) return vsigmoid(x);
  return x;
}

template <Activation A>
void finish_as(const TileFinish& f, float* c, int64_t c_row, int64_t rows, int64_t cols) {
  const F32 low = splat(f.low), high = splat(f.high);
  for (int64_t j = 0; j < cols; j += kWidth) {
    const int64_t n = std::min<int64_t>(kWidth, cols - j);
    const auto part = [&](const float* p) { return n == kWidth ? load(p) : load_part(p, n); };
    const F32 bias = f.bias ? part(f.bias + j) : F32{};
    for (int64_t r = 0; r < rows; ++r) {
      float* to = c + r * c_row + j;
      F32 x = activate<A>(part(to) + bias, low, high);
      if (f.residual) x += part(f.residual + r * f.residual_row + j);
      if (n == kWidth)
        store(to, x);
      else
        store_part(to, x, n);
    }
  }
}

void finish(const TileFinish& f, float* c, int64_t c_row, int64_t rows, int64_t cols) {
  switch (f.activation) {
    case Activation::none: return finish_as<Activation::none>(f, c, c_row, rows, cols);
    case Activation::relu: return finish_as<Activation::relu>(f, c, c_row, rows, cols);
    case Activation::gelu: return finish_as<Activation::gelu>(f, c, c_row, rows, cols);
    case Activation::tanh: return finish_as<Activation::tanh>(f, c, c_row, rows, cols);
    case Activation::sigmoid: return finish_as<Activation::sigmoid>(f, c, c_row, rows, cols);
    case Activation::clip: return finish_as<Activation::clip>(f, c, c_row, rows, cols);
  }
}
void finish_tile(TileFinish f, int64_t i, int64_t j, float* c, int64_t c_row, int64_t rows, int64_t cols) {
  if (f.bias) f.bias += j;
  if (f.residual) f.residual += i * f.residual_row + j;
  finish(f, c, c_row, rows, cols);
}

// ---- one tile -------------------------------------------------------------------------------------------------------
struct Place {
  float* c;
  int64_t c_row;
};

// What is done to sums while they are in registers: a bias (kCols values) and limits.
struct Ending {
  const float* bias = nullptr;
  float low = -std::numeric_limits<float>::infinity(), high = std::numeric_limits<float>::infinity();
};

// `rest`: what is left to do when the tile is stored.
Ending ending_of(const TileFinish& f, TileFinish& rest) {
  Ending e;
  const bool limits = f.activation == Activation::relu || f.activation == Activation::clip;
  rest = f;
  if (f.residual || (f.activation != Activation::none && !limits)) return e;
  rest = {};
  e.bias = f.bias;
  if (limits) e.low = f.activation == Activation::clip ? f.low : 0.0f;
  if (f.activation == Activation::clip) e.high = f.high;
  return e;
}

// RowMajor: depths of a lie next to each other, else its rows do.
template <bool RowMajor, int R>
void tile(const TileProduct& p, const float* a, const float* b, Place to, const Ending& end) {
  F32 sum[R][2] = {};
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) __builtin_prefetch(to.c + r * to.c_row);
  const int64_t row = RowMajor ? p.a_row : 1, step = RowMajor ? 1 : p.a_depth;
#pragma GCC unroll 4
  for (int64_t d = 0; d < p.depth; ++d, a += step, b += kCols) {
    const F32 b0 = load(b), b1 = load(b + kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      sum[r][0] += a[r * row] * b0;
      sum[r][1] += a[r * row] * b1;
    }
  }
  const F32 bias0 = end.bias ? load(end.bias) : F32{}, bias1 = end.bias ? load(end.bias + kWidth) : F32{};
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    float* c = to.c + r * to.c_row;
    F32 lo = sum[r][0] * p.alpha + bias0, hi = sum[r][1] * p.alpha + bias1;
    if (p.add) {
      lo += load(c);
      hi += load(c + kWidth);
    }
    store(c, limit(lo, end.low, end.high));
    store(c + kWidth, limit(hi, end.low, end.high));
  }
}

using TileFn = void (*)(const TileProduct&, const float*, const float*, Place, const Ending&);
template <bool RowMajor, int... R>
TileFn choose(int64_t rows, std::integer_sequence<int, R...>) {
  static constexpr TileFn table[] = {tile<RowMajor, R + 1>...};
  return table[rows - 1];
}

// The right edge goes through a copy of full width.
void edge_tile(TileFn f, const TileProduct& p, const float* a, const float* b, float* c, Ending end, int64_t rows,
               int64_t cols) {
  float whole[kRows * kCols], bias[kCols] = {};
  if (end.bias) end.bias = std::copy_n(end.bias, cols, bias) - cols;
  if (p.add) {
    for (int64_t r = 0; r < rows; ++r) std::copy_n(c + r * p.c_row, cols, whole + r * kCols);
  }
  f(p, a, b, {whole, kCols}, end);
  for (int64_t r = 0; r < rows; ++r) std::copy_n(whole + r * kCols, cols, c + r * p.c_row);
}

// A panel of b stays in the first cache while all rows of a pass.
template <bool RowMajor>
void multiply_as(const TileProduct& p) {
  constexpr auto all = std::make_integer_sequence<int, kRows>();
  const int64_t a_tile = p.a_tile ? p.a_tile : kRows * p.a_row;
  TileFinish rest;
  Ending end = ending_of(p.finish, rest);
  const bool finishes = rest.any();
  for (int64_t j = 0; j < p.cols; j += kCols) {
    const int64_t cols = std::min<int64_t>(kCols, p.cols - j);
    if (p.finish.bias && !finishes) end.bias = p.finish.bias + j;
    for (int64_t i = 0; i < p.rows; i += kRows) {
      const int64_t rows = std::min<int64_t>(kRows, p.rows - i);
      const TileFn f = choose<RowMajor>(rows, all);
      const float* a = p.a + i / kRows * a_tile;
      const float* b = p.b + j * p.depth;
      float* c = p.c + i * p.c_row + j;
      if (cols == kCols)
        f(p, a, b, {c, p.c_row}, end);
      else
        edge_tile(f, p, a, b, c, end, rows, cols);
      if (finishes) finish_tile(rest, i, j, c, p.c_row, rows, cols);
    }
  }
}

void multiply(const TileProduct& p) {
  if (p.a_depth == 1)
    multiply_as<true>(p);
  else
    multiply_as<false>(p);
}

}  // namespace

const TileKernels tile_kernels_table = {kRows, kCols, pack, pack_left, multiply, finish};

}  // namespace mxnet::MX_ISA
