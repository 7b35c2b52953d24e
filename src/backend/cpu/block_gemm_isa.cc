// SPDX-License-Identifier: Apache-2.0
// The product goes in blocks that fit the caches (Goto and van de Geijn, 2008): a block of b is packed in panels of the
// tile's width, a block of a in panels of its height, and each tile of c is summed in registers.
#include <algorithm>

#include "backend/cpu/block_gemm.h"
#include "backend/cpu/simd.h"

namespace mxnet::MX_ISA {
namespace {

constexpr int kVectors = 2;
#if defined(__AVX512F__)
constexpr int kRows = 12;
#else
constexpr int kRows = 6;
#endif
constexpr int64_t kBlockRows = kRows * 16, kBlockDepth = 256, kBlockCols = 512;

template <typename T>
struct Blocks {
  static constexpr int kL = kLanes<T>;
  static constexpr int64_t kCols = kVectors * kL;

  // Panels of `width` lines, each with its depths one after the other; lines past the end are zero.
  template <int64_t Width>
  static void pack(const T* from, int64_t line_step, int64_t depth_step, int64_t lines, int64_t depth, T factor,
                   T* to) {
    for (int64_t l = 0; l < lines; l += Width, to += Width * depth, from += Width * line_step) {
      const int64_t width = std::min(Width, lines - l);
      if (width < Width) std::fill_n(to, Width * depth, T(0));
      if (line_step == 1 && width == Width) {
        for (int64_t d = 0; d < depth; ++d) {
          for (int64_t i = 0; i < Width; ++i) to[d * Width + i] = factor * from[d * depth_step + i];
        }
      } else {
        for (int64_t i = 0; i < width; ++i) {
          for (int64_t d = 0; d < depth; ++d) to[d * Width + i] = factor * from[i * line_step + d * depth_step];
        }
      }
    }
  }

  static void tile(const T* a, const T* b, int64_t depth, T* c, int64_t c_row, bool add) {
    Vec<T> sum[kRows][kVectors] = {};
    for (int64_t d = 0; d < depth; ++d, a += kRows, b += kCols) {
      Vec<T> v[kVectors];
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) v[j] = load(b + j * kL);
#pragma GCC unroll 12
      for (int i = 0; i < kRows; ++i) {
        const T x = a[i];
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) sum[i][j] += x * v[j];
      }
    }
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
        T* to = c + i * c_row + j * kL;
        store(to, add ? load(to) + sum[i][j] : sum[i][j]);
      }
    }
  }

  // A tile that c holds only in part.
  static void edge(const T* a, const T* b, int64_t depth, T* c, int64_t c_row, int64_t rows, int64_t cols, bool add) {
    alignas(64) T whole[kRows * kCols];
    tile(a, b, depth, whole, kCols, false);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; ++j) c[i * c_row + j] = (add ? c[i * c_row + j] : T(0)) + whole[i * kCols + j];
    }
  }

  static void block(const T* a, const T* b, int64_t rows, int64_t cols, int64_t depth, T* c, int64_t c_row, bool add) {
    for (int64_t j = 0; j < cols; j += kCols) {
      for (int64_t i = 0; i < rows; i += kRows) {
        T* to = c + i * c_row + j;
        if (rows - i >= kRows && cols - j >= kCols)
          tile(a + i * depth, b + j * depth, depth, to, c_row, add);
        else
          edge(a + i * depth, b + j * depth, depth, to, c_row, std::min<int64_t>(kRows, rows - i),
               std::min(kCols, cols - j), add);
      }
    }
  }

  static int64_t up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

  static int64_t packed_b(int64_t n, int64_t k) {
    return up(std::min(n, kBlockCols), kCols) * std::min(k, kBlockDepth);
  }
  static int64_t memory(int64_t m, int64_t n, int64_t k) {
    return packed_b(n, k) + up(std::min(m, kBlockRows), kRows) * std::min(k, kBlockDepth);
  }

  static void multiply(const BlockProduct<T>& p, T* b) {
    if (p.k == 0 && !p.add) {
      for (int64_t i = 0; i < p.m; ++i) std::fill_n(p.c + i * p.c_row, p.n, T(0));
    }
    T* const a = b + packed_b(p.n, p.k);
    for (int64_t d = 0; d < p.k; d += kBlockDepth) {
      const int64_t depth = std::min(kBlockDepth, p.k - d);
      for (int64_t j = 0; j < p.n; j += kBlockCols) {
        const int64_t cols = std::min(kBlockCols, p.n - j);
        pack<kCols>(p.b + d * p.b_row + j * p.b_col, p.b_col, p.b_row, cols, depth, T(1), b);
        for (int64_t i = 0; i < p.m; i += kBlockRows) {
          const int64_t rows = std::min(kBlockRows, p.m - i);
          pack<kRows>(p.a + i * p.a_row + d * p.a_col, p.a_row, p.a_col, rows, depth, p.alpha, a);
          block(a, b, rows, cols, depth, p.c + i * p.c_row + j, p.c_row, p.add || d > 0);
        }
      }
    }
  }
};

}  // namespace

const BlockGemm<float> block_gemm_f32_table = {kRows, Blocks<float>::kCols, Blocks<float>::multiply,
                                               Blocks<float>::memory};
const BlockGemm<double> block_gemm_f64_table = {kRows, Blocks<double>::kCols, Blocks<double>::multiply,
                                                Blocks<double>::memory};

}  // namespace mxnet::MX_ISA
