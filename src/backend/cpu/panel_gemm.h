// SPDX-License-Identifier: Apache-2.0
// Products of few rows with a matrix that is packed once and used many times, as a recurrent layer does at every time
// step. The packed matrix is a row of panels, kPanelVectors vectors of columns each; whoever asks for one panel gets
// only its columns, so that a thread can go on with them while they are in its cache.
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"

namespace mxnet {

template <typename T>
struct PanelGemm {
  int64_t width;  // columns of a panel
  // panel[p][j] = b[p * step_k + j * step_n] for p < k, j < cols; the columns up to `width` become 0.
  void (*pack)(const T* b, int64_t step_k, int64_t step_n, int64_t k, int64_t cols, T* panel);
  // c[i][j] = sum over p < k of a[i][p] * panel[p][j] for i < rows, j < cols <= width.
  void (*multiply)(const T* a, int64_t lda, const T* panel, T* c, int64_t ldc, int64_t rows, int64_t k, int64_t cols);
};
MX_ISA_TABLE(PanelGemm<float>, panel_gemm_f32)
MX_ISA_TABLE(PanelGemm<double>, panel_gemm_f64)

template <typename T>
const PanelGemm<T>& panel_gemm();
template <>
inline const PanelGemm<float>& panel_gemm<float>() {
  return panel_gemm_f32();
}
template <>
inline const PanelGemm<double>& panel_gemm<double>() {
  return panel_gemm_f64();
}

}  // namespace mxnet
