// SPDX-License-Identifier: Apache-2.0
// softmax(scale * q k') v for many pairs at once, without the matrix of scores in memory. No public operator: plans put
// it where they find its composition (executor/attention_pass.cc).
#pragma once

#include "backend/cpu/isa_table.h"
#include "operator/op.h"

namespace mxnet {

struct AttentionKernels {
  // Of each row of n scores, with `ld` floats from row to row: scores become exp(score - max). `log_sum`: of the row's
  // exponentials before the maximum was taken off; `inverse`: 1 over the sum of what stands in the row now.
  void (*exponentials)(float* scores, int64_t rows, int64_t n, int64_t ld, float* log_sum, float* inverse);
  void (*scale_rows)(float* data, int64_t rows, int64_t n, int64_t ld, const float* factors);
  // scores become the probabilities exp(score - log_sum); `grad`, the gradient of these, that of the scores, times
  // scale: p (grad - dot) scale.
  void (*gradient)(float* scores, float* grad, int64_t rows, int64_t n, int64_t ld, const float* log_sum,
                   const float* dots, float scale);
  float (*dot)(const float* a, const float* b, int64_t n);
};
MX_ISA_TABLE(AttentionKernels, attention_kernels)

namespace nn {

// Where the matrices of one operand lie in its array: (offset, step from row to row, count, step, count, step, ...);
// the counts split the batch, the slowest first. Columns lie next to each other.
struct AttentionParams {
  Shape sizes;  // batch, rows of q, rows of k, columns of q and k, columns of v
  Shape q, k, v, out;
  Shape out_shape;  // of the output array
  double scale = 1;
  bool packed = false;  // one input holds q, k and v, and nothing else

  static void declare(ParamSchemaOf<AttentionParams>& s);
};

}  // namespace nn
}  // namespace mxnet
