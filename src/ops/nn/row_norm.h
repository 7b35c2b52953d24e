// SPDX-License-Identifier: Apache-2.0
// Normalization of rows to mean 0 and variance 1: the common part of LayerNorm, InstanceNorm and GroupNorm.
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"
#include "base/dtype.h"

namespace mxnet {

struct RowNormView {
  DType dtype = DType::f32;
  int64_t rows = 0, n = 0;
  double eps = 1e-5;
  int64_t row_groups = 0;  // 0: gamma and beta have n entries; else row r uses entry r % row_groups
};

// mean and rstd (1 / sqrt(variance + eps)) are of the statistics type: double for float64, else float; gamma and beta
// of the data's dtype.
struct RowNormKernels {
  void (*forward)(const RowNormView& view, const void* x, const void* gamma, const void* beta, void* y, void* mean,
                  void* rstd, int64_t begin, int64_t end);
  // dx may be null. dgamma and dbeta (statistics type, may be null together): with row_groups one entry per row is
  // written, otherwise n entries are added to.
  void (*backward)(const RowNormView& view, const void* dy, const void* x, const void* gamma, const void* mean,
                   const void* rstd, void* dx, void* dgamma, void* dbeta, int64_t begin, int64_t end);
};
MX_ISA_TABLE(RowNormKernels, row_norm_kernels)

namespace nn {

inline DType statistics_type(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

void row_norm_forward(const RowNormView& view, const void* x, const void* gamma, const void* beta, void* y, void* mean,
                      void* rstd);
size_t row_norm_backward_scratch(const RowNormView& view);
// dx, dgamma, dbeta: any may be null; of the data's dtype.
void row_norm_backward(const RowNormView& view, const void* dy, const void* x, const void* gamma, const void* mean,
                       const void* rstd, void* dx, void* dgamma, void* dbeta, void* scratch);
int64_t row_norm_cost(const RowNormView& view);

}  // namespace nn
}  // namespace mxnet
