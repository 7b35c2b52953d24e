// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/panel_gemm.h"

#include <algorithm>

#include "backend/cpu/simd.h"

namespace mxnet::MX_ISA {
namespace {

// A tile keeps kMaxRows x kPanelVectors sums in registers, beside the panel's vectors and one broadcast element.
constexpr int kPanelVectors = 2;
#if defined(__AVX512F__)
constexpr int kMaxRows = 12;
#else
constexpr int kMaxRows = 6;
#endif
// Rows of a panel that stay in the first cache while all tiles of rows pass over them.
constexpr int64_t kBlockBytes = 16384;

template <typename T>
struct Panels {
  static constexpr int kL = kLanes<T>;
  static constexpr int64_t kWidth = kPanelVectors * kL;
  static constexpr int64_t kBlock = kBlockBytes / (kWidth * static_cast<int64_t>(sizeof(T)));

  static void pack(const T* b, int64_t step_k, int64_t step_n, int64_t k, int64_t cols, T* panel) {
    if (cols < kWidth) std::fill_n(panel, k * kWidth, T(0));
    if (step_n == 1) {
      for (int64_t p = 0; p < k; ++p) std::copy_n(b + p * step_k, cols, panel + p * kWidth);
      return;
    }
    // One cache line of each column at a time.
    constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
    for (int64_t p0 = 0; p0 < k; p0 += kLine) {
      const int64_t end = std::min(k, p0 + kLine);
      for (int64_t j = 0; j < cols; ++j) {
        for (int64_t p = p0; p < end; ++p) panel[p * kWidth + j] = b[p * step_k + j * step_n];
      }
    }
  }

  template <int Rows>
  static void tile(const T* a, int64_t lda, const T* panel, T* c, int64_t ldc, int64_t k, int64_t cols, bool first) {
    Vec<T> sum[Rows][kPanelVectors] = {};
    for (int64_t p = 0; p < k; ++p) {
      Vec<T> b[kPanelVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kPanelVectors; ++v) b[v] = load(panel + p * kWidth + v * kL);
#pragma GCC unroll 12
      for (int r = 0; r < Rows; ++r) {
        const T x = a[r * lda + p];
#pragma GCC unroll 2
        for (int v = 0; v < kPanelVectors; ++v) sum[r][v] += x * b[v];
      }
    }
#pragma GCC unroll 12
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kPanelVectors; ++v) {
        T* to = c + r * ldc + v * kL;
        const int64_t left = cols - v * kL;
        if (left >= kL)
          store(to, first ? sum[r][v] : load(to) + sum[r][v]);
        else if (left > 0)
          store_part(to, first ? sum[r][v] : load_part(to, left) + sum[r][v], left);
      }
    }
  }

  template <int Rows>
  static void tile_of(int64_t rows, const T* a, int64_t lda, const T* panel, T* c, int64_t ldc, int64_t k, int64_t cols,
                      bool first) {
    if constexpr (Rows > 1) {
      if (rows < Rows) return tile_of<Rows - 1>(rows, a, lda, panel, c, ldc, k, cols, first);
    }
    tile<Rows>(a, lda, panel, c, ldc, k, cols, first);
  }

  static void multiply(const T* a, int64_t lda, const T* panel, T* c, int64_t ldc, int64_t rows, int64_t k,
                       int64_t cols) {
    // Tiles of about equal height: 20 rows are 4 times 5, not 6, 6, 6 and 2.
    const int64_t tiles = (rows + kMaxRows - 1) / kMaxRows;
    int64_t p = 0;
    do {
      const int64_t depth = std::min(kBlock, k - p);
      int64_t row = 0;
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t height = (rows - row) / (tiles - t);
        tile_of<kMaxRows>(height, a + row * lda + p, lda, panel + p * kWidth, c + row * ldc, ldc, depth, cols, p == 0);
        row += height;
      }
      p += depth;
    } while (p < k);
  }
};

}  // namespace

const PanelGemm<float> panel_gemm_f32_table = {Panels<float>::kWidth, Panels<float>::pack, Panels<float>::multiply};
const PanelGemm<double> panel_gemm_f64_table = {Panels<double>::kWidth, Panels<double>::pack, Panels<double>::multiply};

}  // namespace mxnet::MX_ISA
