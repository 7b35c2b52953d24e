// SPDX-License-Identifier: Apache-2.0
// Softmax along one axis of an array seen as (outer, n, inner), shared by the operators that contain one.
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"
#include "base/dtype.h"
#include "base/shape.h"

namespace mxnet {

// y = softmax(scale * x), or its logarithm.
struct SoftmaxView {
  int64_t outer = 1, n = 1, inner = 1;
  float scale = 1;
  bool log = false;

  static SoftmaxView along(const Shape& shape, int axis) {
    return {shape.size(0, axis), shape[axis], shape.size(axis + 1, shape.rank()), 1, false};
  }
  int64_t size() const { return outer * n * inner; }
};

// Rows [begin, end) of the outer axis.
struct SoftmaxKernels {
  void (*forward)(const SoftmaxView& view, DType dtype, const void* x, void* y, int64_t begin, int64_t end);
  void (*backward)(const SoftmaxView& view, DType dtype, const void* dy, const void* y, void* dx, int64_t begin,
                   int64_t end);
};
MX_ISA_TABLE(SoftmaxKernels, softmax_kernels)

namespace nn {

inline bool softmax_has_simd(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f64;
}
// Whole arrays, on the team. dtypes as softmax_has_simd says; y may be x, dx may be dy.
void softmax_forward(const SoftmaxView& view, DType dtype, const void* x, void* y);
void softmax_backward(const SoftmaxView& view, DType dtype, const void* dy, const void* y, void* dx);
int64_t softmax_cost(const SoftmaxView& view, DType dtype);

}  // namespace nn
}  // namespace mxnet
